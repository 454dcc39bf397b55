"""The process ends with the code of the command, at once, and nothing that has to be done at its end is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import atexit, sys, threading, time, weakref
from runner.__main__ import leave
class Thing:
    def __del__(self):
        print("taken apart", flush=True)
thing = Thing()
weakref.finalize(sys, print, "finalized", flush=True)
atexit.register(print, "at exit")
if "thread" in sys.argv:
    threading.Thread(target=lambda: (time.sleep(0.2), print("worked"))).start()
if "closed" in sys.argv:
    sys.stderr.close()
print("last line")
leave(7)
"""


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        ("", ["last line", "at exit", "finalized"]),
        ("closed", ["last line", "at exit", "finalized"]),
        ("thread", ["last line", "worked", "at exit", "finalized", "taken apart"]),
    ],
)
def test_what_has_to_be_done_at_the_end_is_done(case: str, lines: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, case], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.splitlines() == lines


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["none"], 64), (["validate", "none.yml"], 5)])
def test_the_exit_code_is_that_of_the_command(words: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-m", "runner", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout or done.stderr


WINDOWS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "termios", "pty", "pwd", "grp", "resource"):
            raise ImportError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
for name in ("fcntl", "termios", "pty", "pwd", "grp", "resource"):
    sys.modules.pop(name, None)
sys.platform = "win32"
from runner.__main__ import start
sys.argv = ["planrun", *sys.argv[1:]]
start()
"""


@pytest.mark.parametrize("words", [["--version"], ["apply", "plan.yml"], []], ids=" ".join)
def test_windows_is_told_to_use_wsl(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", WINDOWS, *words], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("error: PR1130 planrun does not run on Windows") and "wsl --install" in done.stderr
