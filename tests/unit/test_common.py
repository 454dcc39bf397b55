"""A question at a terminal: a signal that comes as it appears, and what was typed. Real terminals, real signals."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from runner import words
from runner.cancel import Cancel
from runner.cli.common import Terminal, interruptible, with_file
from tests.person import COMMAND, OWN_TERMINAL, start_person

PLAN = "name: p\nsteps:\n  - {id: make, uses: write, with: {to: ./done.txt, text: done}}\n"
ASKS = (
    OWN_TERMINAL
    + """
from runner.cancel import Cancel
from runner.cli.common import Terminal, interruptible, with_file
from runner.errors import Interrupted
for number in range(int(sys.argv[1])):
    cancel = Cancel()
    terminal = Terminal(cancel)
    try:
        with interruptible(cancel, terminal):
            print("said", terminal.ask(f"question {number}"), flush=True)
    except Interrupted as exc:
        print("stopped", exc.exit_code, cancel.reason is exc, flush=True)
"""
)
SIGNAL_BEFORE = ASKS.replace(
    '            print("said"', '            os.kill(0, signal.SIGTERM)\n            print("said"'
)
SIGNAL_AFTER = ASKS.replace(
    "    try:\n",
    """    @contextlib.contextmanager
    def pause():
        yield
        os.kill(os.getpid(), signal.SIGTERM)
    terminal.pause = pause
    try:
""",
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "p.yml").write_text(PLAN)
    return tmp_path


def test_no_ctrl_c_at_a_question_is_lost(home: Path) -> None:
    with start_person(home, ASKS, "40") as person:
        for number in range(40):
            person.sees(f"question {number} ")
            person.types(b"\x03")
            assert person.sees("said|stopped 130 True") == "stopped 130 True"
        assert person.ends() == 0


def test_a_run_that_is_interrupted_at_its_question_does_nothing(home: Path) -> None:
    for keys in (b"\x03", b"\x03y\r", b"\x03y\r"):
        with start_person(home, COMMAND, "apply", "p.yml") as person:
            person.sees(r"Run it\?")
            person.types(keys)
            person.sees(r"\nerror: PR0513 interrupted by SIGINT")
            assert person.ends() == 130
    assert not (home / "done.txt").exists()


@pytest.mark.parametrize(
    ("keys", "code"), [(b"y\r", 0), (b"what\rYES\r", 0), (b"n\r", 1), (b"\r", 1), (b"\x04", 130), (b"y\x04\x04", 0)]
)
def test_an_answer_is_a_line(keys: bytes, code: int, home: Path) -> None:
    with start_person(home, COMMAND, "apply", "p.yml") as person:
        person.sees(r"Run it\? \[y/N\]: ")
        person.types(keys)
        assert person.ends() == code, person.text
        assert ("invalid input" in person.text) == (b"what" in keys)
    assert (home / "done.txt").exists() == (code == 0)


def test_nothing_is_asked_after_a_signal(home: Path) -> None:
    with start_person(home, SIGNAL_BEFORE, "1") as person:
        assert person.sees("question|said|stopped 143 True") == "stopped 143 True"
        assert person.ends() == 0


def test_a_signal_beats_the_answer_that_came_before_it(home: Path) -> None:
    with start_person(home, SIGNAL_AFTER, "1") as person:
        person.sees("question 0")
        person.types(b"y\r")
        assert person.sees("said|stopped 143 True") == "stopped 143 True"
        assert person.ends() == 0


class Interrupting(io.RawIOBase):
    """A stream at whose first write a signal comes."""

    written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.written += 1
        if self.written == 1:
            signal.raise_signal(signal.SIGTERM)
        return len(data)


def test_a_signal_in_the_middle_of_a_line_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BufferedWriter(Interrupting()), line_buffering=True)
    monkeypatch.setattr(sys, "stderr", stream)
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        print("x" * 10, file=sys.stderr, flush=True)
    assert cancel.reason and cancel.reason.exit_code == 143


def test_commands_in_hints_name_the_file_of_this_command_line() -> None:
    hint = f"planrun backups list {words.PLAN} shows it, and PLANRUN_PG_BIN"
    args = ["backups", "verify", "--set", "f=x.yml", "my plans/a.yml", "b.yml"]
    assert with_file(hint, args) == "planrun backups list 'my plans/a.yml' shows it, and PLANRUN_PG_BIN"
    assert with_file(hint, ["schema"]) == "planrun backups list PLAN shows it, and PLANRUN_PG_BIN"
