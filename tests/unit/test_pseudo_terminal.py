"""A program with a terminal of its own: what it sees, what the person sees, and what is kept of it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner import pseudo_terminal
from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError
from runner.pseudo_terminal import Console, Redraw
from runner.redact import Redactor
from runner.words import plain
from tests.person import COMMAND, ROOT, start_person

PLAN = """name: p
steps:
  - id: push
    uses: command
    with: {argv: [%s, ask.py], %s}
"""
ASKS = """
import os, sys, termios, tty
if not all(os.isatty(fd) for fd in range(3)):
    print("Interactive prompts require a TTY")
    sys.exit()
before = termios.tcgetattr(0)
tty.setraw(0)
print("\\x1b[1mrename or create?\\x1b[0m", os.get_terminal_size(), flush=True)
key = os.read(0, 10)
termios.tcsetattr(0, termios.TCSANOW, before)
print("pressed", ascii(key), flush=True)
print("name:", input("its name? "), flush=True)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def wants(home: Path, more: str = "cwd: .", program: str = ASKS) -> None:
    (home / "p.yml").write_text(PLAN % (sys.executable, more))
    (home / "ask.py").write_text(program)


def planrun(home: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PLANRUN_STATE_DIR": str(home / "state"), **env}
    return subprocess.run(
        [sys.executable, "-m", "runner", *argv],
        cwd=home,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_a_person_answers_what_a_program_asks(home: Path) -> None:
    wants(home)
    with start_person(home, COMMAND, "apply", "p.yml", CI="") as person:
        person.sees(r"Run it\?")
        person.types(b"y\r")
        person.sees("rename or create")
        person.types(b"\r")
        person.sees(r"pressed b'\\r'")
        person.sees("its name")
        person.types("Größe\r".encode())
        person.sees("name: Größe")
        assert person.ends() == 0
    events = [json.loads(line) for file in home.glob("state/**/*.jsonl") for line in file.read_text().splitlines()]
    kept = next(event["result"]["output"] for event in events if event["event"] == "action_done")
    assert (
        kept.startswith("rename or create? os.terminal_size(") and kept.endswith("name: Größe\n") and "\x1b" not in kept
    )


@pytest.mark.parametrize("more", ["tty: false", "cwd: ."])
def test_without_a_terminal_there_is_none(home: Path, more: str) -> None:
    wants(home, more)
    if more == "tty: false":
        with start_person(home, COMMAND, "apply", "p.yml", "--yes", CI="") as person:
            person.sees("Interactive prompts require a TTY")
            assert person.ends() == 0
    else:
        assert "Interactive prompts require a TTY" in planrun(home, "apply", "p.yml", "--yes").stderr


def test_a_program_can_have_a_terminal_where_there_is_none(home: Path) -> None:
    """Its questions meet the end of the input, as with /dev/null, and it does not wait for ever."""
    wants(home, "tty: true")
    done = planrun(home, "apply", "p.yml", "--yes")
    assert "rename or create? os.terminal_size(columns=80, lines=24)" in done.stderr
    assert "pressed b'\\x04'" in done.stderr and "\x1b" not in done.stderr


def test_ctrl_c_stops_the_program_and_the_terminal_is_as_before(home: Path) -> None:
    wants(home, program="import time; print('working', flush=True); time.sleep(60)")
    shell = COMMAND.replace(
        "sys.exit(main(sys.argv[1:]))", "code = main(sys.argv[1:]); os.system('stty -a'); sys.exit(code)"
    )
    with start_person(home, shell, "apply", "p.yml", "--yes", CI="") as person:
        person.sees("working")
        person.types(b"\x03")
        person.sees("interrupted by SIGINT")
        person.sees(r"icrnl[^-]*[^-]icanon|icanon")
        assert person.ends() == 130
        assert "-icanon" not in person.text and "-icrnl" not in person.text and " -echo " not in person.text


def test_the_second_ctrl_c_leaves_at_once_and_the_terminal_is_as_before(home: Path) -> None:
    program = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('working', flush=True)\ntime.sleep(60)"
    wants(home, program=program)
    shell = (
        "import contextlib, fcntl, os, signal, subprocess, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"
        "code = subprocess.call([sys.executable, '-m', 'runner', *sys.argv[1:]]); os.system('stty -a'); sys.exit(code)"
    )
    with start_person(home, shell, "apply", "p.yml", "--yes", CI="") as person:
        person.sees("working")
        person.types(b"\x03")
        person.sees("send it again to quit at once")
        time.sleep(0.4)  # a second one sooner is taken for the first: `timeout` sends two
        person.types(b"\x03")
        person.sees("icanon")
        assert person.ends() == 130 and "-icanon" not in person.text


def test_secrets_are_not_drawn(home: Path) -> None:
    """Neither whole nor in pieces as they are read; the password of a connection is known without being named."""
    wants(
        home,
        program="import os, time\nfor piece in ('s3cret', '-of-', 'mine'): os.write(1, piece.encode()); time.sleep(.3)",
    )
    url = {"DATABASE_URL": "postgresql://app:s3cret-of-mine@nowhere/db"}
    with start_person(home, COMMAND, "apply", "p.yml", "--yes", CI="", **url) as person:
        person.sees(r"\*\*\*")
        assert person.ends() == 0 and "s3cret" not in person.text


def test_what_waits_is_drawn_in_the_end() -> None:
    known = Redactor({"DB_PASSWORD": "secret-word"})
    draw = Redraw(known.text, known.length_of_begun_secret)
    assert draw(b"a secret-") == b"a " and draw(b"") == b"" and draw(b"agent") == b"secret-agent"
    assert draw(b"yes") == b"ye" and draw(b"") == b"s"
    assert draw(b"secret-wo") == b"" and draw(b"rd!") == b"***!"
    assert draw("ö".encode()[:1]) == b"" and draw("ö".encode()[1:]) == "ö".encode()
    assert draw(b"secret") == b"" and draw(b"", last=True) == b"secret"


def test_the_answer_of_a_program_that_ends_with_the_key_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes and ends between the look at what is there and the look at whether it has ended."""
    carry_keys = pseudo_terminal._carry_keys

    def carry_and_wait(keys: int, ours: int) -> bool:
        carried = carry_keys(keys, ours)
        time.sleep(0.5)
        return carried

    monkeypatch.setattr(pseudo_terminal, "_carry_keys", carry_and_wait)
    person, terminal = pty.openpty()
    lines: list[str] = []
    try:
        threading.Timer(0.5, os.write, (person, b"yes\n")).start()  # keys that were typed before are dropped
        pseudo_terminal.run(
            ("/bin/sh", "-c", 'read -r answer; echo "heard $answer"'),
            env={"PATH": os.environ["PATH"]},
            cancel=Cancel(),
            console=Console(keys=terminal, screen=terminal),
            on_line=lines.append,
        )
    finally:
        os.close(person)
        os.close(terminal)
    assert "heard yes" in lines


def test_a_program_that_fails_tells_what_it_drew() -> None:
    argv = ("/bin/sh", "-c", "printf '10 %%\\r\\033[31mno such table\\033[0m\\n'; exit 3")
    with pytest.raises(TargetError, match=r"ended with exit code 3:\n    no such table$"):
        pseudo_terminal.run(argv, env={"PATH": os.environ["PATH"]}, cancel=Cancel())


def test_a_program_is_stopped_when_told(home: Path) -> None:
    cancel, lines = Cancel(), list[str]()

    def hear(line: str) -> None:
        lines.append(line)
        cancel.cancel(Interrupted("stop", signal=signal.SIGINT))

    began = time.monotonic()
    with pytest.raises(Interrupted):
        pseudo_terminal.run(
            ("/bin/sh", "-c", "echo up; sleep 60"), env={"PATH": os.environ["PATH"]}, cancel=cancel, on_line=hear
        )
    assert lines == ["up"] and time.monotonic() - began < 30


def test_much_output_is_read_and_the_last_of_it_kept() -> None:
    lines = list[str]()
    env = {"PATH": os.environ["PATH"]}
    done = pseudo_terminal.run(("seq", "1", "30000"), env=env, cancel=Cancel(), on_line=lines.append, keep=1000)
    assert lines == [str(number) for number in range(1, 30001)]
    assert len(done) <= 1000 and done.endswith("29999\n30000\n")
    assert pseudo_terminal.run(("printf", "no newline"), env=env, cancel=Cancel()) == "no newline"


def test_drawn_text_as_plain_text() -> None:
    assert plain("\x1b]0;title\x07\x1b[2K\x1b[1Gdone\tnow\x1b(B\r\n") == "done\tnow\n"
    assert plain("1 %\r2 %\r\n") == "2 %\n" and plain("größe [x] ✓") == "größe [x] ✓"


def redraw(*reads: str) -> str:
    draw = Redraw(lambda text: text, lambda text: 0)
    shown = b"".join(draw(read.encode()) for read in reads) + draw(b"", last=True)
    return shown.decode()


@pytest.mark.parametrize(
    "reads",
    [
        ("a\x1b]52;c;aGk=\x07b",),
        ("a\x1b", "]52;c;aGk=\x07b"),
        ("a\x1b]52;c;", "aGk=", "\x07b"),
        ("a\x1b]52;c;aGk=\x1b", "\\b"),
        ("a\x1bP1$r0m\x1b\\", "b"),
        ("a\u202e", "b\u2066"),
        ("a", "b\x1b]0;never ended"),
    ],
)
def test_a_program_cannot_set_the_clipboard_or_the_title_however_its_output_is_cut(reads: tuple[str, ...]) -> None:
    assert redraw(*reads) == "ab"


def test_a_program_may_draw() -> None:
    assert redraw("\x1b[1", "mname\x1b[0m: \x1b", "[2K") == "\x1b[1mname\x1b[0m: \x1b[2K"
    assert len(redraw("\x1b]" + "x" * 10_000, "b\x07c")) < 10_000, "a string that does not end is not kept for ever"
