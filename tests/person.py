"""A person at a terminal, who sees a program that was started there."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN_TERMINAL = "import contextlib, fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
COMMAND = OWN_TERMINAL + "from runner.cli import main; sys.exit(main(sys.argv[1:]))"


class Person:
    """A person at a terminal of their own, who sees a program that was started there."""

    def __init__(self, home: Path, *argv: str, **env: str) -> None:
        self.screen, slave = pty.openpty()
        own = {"PYTHONPATH": str(ROOT), "PLANRUN_STATE_DIR": str(home / "state"), "CI": "1", "TERM": "xterm"}
        made = {name: value for name, value in {**os.environ, **own, **env}.items() if value}
        self.child = subprocess.Popen(
            [sys.executable, "-c", *argv],
            cwd=home, env=made, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.text, self.read = "", 0

    def sees(self, pattern: str) -> str:
        """Wait until this appears after the previous match; return it."""
        end = time.monotonic() + 20
        while not (found := re.compile(pattern).search(self.text, self.read)):
            assert time.monotonic() < end and self._look(), f"no {pattern!r} in {self.text[self.read :]!r}"
        self.read = found.end()
        return found[0]

    def _look(self) -> bool:
        if not select.select([self.screen], [], [], 1)[0]:
            return True
        with contextlib.suppress(OSError):  # Linux says EIO when the last writer is gone
            if data := os.read(self.screen, 65536):
                self.text += data.decode().replace("\r\n", "\n")
                return True
        return False

    def types(self, keys: bytes) -> None:
        os.write(self.screen, keys)

    def ends(self) -> int:
        """Wait for the end of the program; return its exit code."""
        end = time.monotonic() + 20
        while self._look():
            assert time.monotonic() < end, f"it did not end: {self.text!r}"
        return self.child.wait(20)

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.screen)


@contextlib.contextmanager
def start_person(home: Path, *argv: str, **env: str) -> Iterator[Person]:
    person = Person(home, *argv, **env)
    try:
        yield person
    finally:
        person.close()
