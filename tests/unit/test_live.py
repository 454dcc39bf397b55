"""What a terminal, a pipe and CI get on stderr while a plan runs: real processes, one of them behind a pty."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from runner.events import (
    ActionProgress,
    PhaseProgress,
    Progress,
    Retrying,
    RunBegan,
    ServerProgress,
    StepEnded,
    StepPlanned,
    Waiting,
)
from runner.model import Outcome, Sql, State
from runner.report import live as live_module
from runner.report import results
from runner.report.live import Live
from runner.words import width_of
from tests.made import HOSTILE, clean, planned_step

ROOT = Path(__file__).parents[2]
PLAN = r"""
name: p
steps:
  - {id: talk, uses: command, with: {argv: [sh, -c, 'printf "one\n\033[31mtwo %0400d\n" 7']}}
  - {id: no, when: talk.failed, uses: command, with: {argv: ["true"]}}
"""
DRAWN = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "p.yml").write_text(PLAN)
    return tmp_path


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PLANRUN_STATE_DIR": str(home / "state"), **more}


def apply(home: Path, *words: str, **env: str) -> tuple[str, str]:
    """Return stdout and what a terminal of 80 columns got on stderr."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [sys.executable, "-m", "runner", "apply", "p.yml", "--yes", *words]
    child = subprocess.Popen(
        argv, cwd=home, env=environment(home, **env), stdin=slave, stdout=subprocess.PIPE, stderr=slave, text=True
    )
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # Linux says EIO when the last writer is gone
        while data := os.read(master, 65536):
            seen += data
    os.close(master)
    out, _ = child.communicate(timeout=20)
    assert child.returncode == 0, (out, seen)
    return out, seen.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_live_display_in_colours_with_nothing_cut_off(home: Path) -> None:
    out, seen = apply(home, TERM="xterm-256color")
    assert "\x1b[?25l" in seen and "\x1b[?25h" in seen, "the cursor is hidden while it draws, and comes back"
    plain = DRAWN.sub("", seen)
    assert f"talk| two {7:0400}" in plain, "what a program says is whole and cannot draw"
    assert "✓ talk  ok" in plain and "- no  skipped" in plain
    assert re.search(r"\x1b\[3\dm✓", seen), "coloured"
    assert out.startswith("p: ok in ") and "\x1b" not in out, "stdout is a pipe here"


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": "xterm", "CI": "true"}, {}], ids=["dumb", "ci", "no TERM"])
def test_a_terminal_that_cannot_be_drawn_on_gets_plain_lines(home: Path, env: dict[str, str]) -> None:
    _, seen = apply(home, **env)
    assert "\x1b" not in seen and "talk: command begins\n" in seen and "talk: ok" in seen


def test_no_color_is_live_without_a_colour(home: Path) -> None:
    _, seen = apply(home, TERM="xterm-256color", NO_COLOR="1")
    assert "✓ talk  ok" in DRAWN.sub("", seen)
    assert not re.search(r"\x1b\[(?:\d;)*[34]\dm", seen)


@pytest.mark.parametrize(("env", "colours"), [({}, False), ({"FORCE_COLOR": "1"}, True)], ids=["plain", "FORCE_COLOR"])
def test_a_pipe_gets_one_whole_line_an_event(home: Path, env: dict[str, str], colours: bool) -> None:
    argv = [sys.executable, "-m", "runner", "apply", "p.yml", "--yes"]
    done = subprocess.run(argv, cwd=home, env=environment(home, **env), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    assert ("\x1b[32mok\x1b[0m" in done.stderr, "\x1b" in done.stdout) == (colours, colours)
    lines = DRAWN.sub("", done.stderr).splitlines()
    events = lines[lines.index(next(line for line in lines if line.startswith("run "))) :]
    assert [line.split(",")[0].split("(")[0].strip() for line in events] == [
        re.sub(r"\s*[,(].*", "", events[0]),
        "talk: command begins",
        "talk| one",
        f"talk| two {7:0400}",
        "talk: ok",
        "no: skipped",
    ]
    assert DRAWN.sub("", done.stdout).startswith("p: ok in ")


# ------------------------------------------------------------------ the display itself


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal would get, with the drawing of the live part left to the test."""
    made = io.StringIO()

    def console(**options: object) -> Console:
        return Console(file=made, force_terminal=True, width=80, highlight=False, soft_wrap=True, color_system=None)

    monkeypatch.setattr(live_module, "Console", console)
    return made


def draw(live: Live) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    with console.capture() as capture:
        console.print(live._draw())
    return capture.get()


BEGAN = RunBegan(
    run="r", plan="p", file="p.yml", mode="apply", digest="d", total=1, host="h", pid=1, user="u", version="0"
)


def test_what_runs_now_stands_below_with_its_bars(screen: io.StringIO) -> None:
    live = Live()
    live.event(BEGAN)
    assert draw(live).strip() == ""
    live.event(StepPlanned(planned=planned_step("save", Sql(text="select 1"))))
    phases = (PhaseProgress(phase="writing", done=20 << 20, total=40 << 20, rate=float(1 << 20)),)
    live.event(ActionProgress(path="save", key="k", what="public.users", phases=phases, share=0.5, left=130))
    live.event(ServerProgress(connection="", lines=("ANALYZE on t, 45 %",), waits="waits for SHARE on t"))
    shown = draw(live)
    assert "save  sql" in shown and "50 %, about 2 min left" in shown
    assert "━" * 12 + "─" * 12 + " writing 20 MB of 40 MB, 1,024 kB/s" in shown
    assert "public.users" in shown and "ANALYZE on t, 45 %" in shown and "waits for SHARE on t" in shown
    live.event(StepEnded(outcome=Outcome(path="save", state=State.OK, outputs={"rows": 3}, seconds=2)))
    assert draw(live).strip() == "" and "✓ save  ok  3 rows  2.0 s" in screen.getvalue()


def test_no_bar_is_full_while_work_goes_on(screen: io.StringIO) -> None:
    live = Live()
    live.event(BEGAN)
    live.event(StepPlanned(planned=planned_step("save", Sql(text="select 1"))))
    phases = (PhaseProgress(phase="rows", done=999, total=1000),)
    live.event(ActionProgress(path="save", key="k", phases=phases, share=0.99))
    assert "━" * 23 + "─ rows" in draw(live)


def test_the_display_is_never_higher_than_the_terminal(screen: io.StringIO) -> None:
    live = Live()
    live.event(BEGAN)
    live.event(StepPlanned(planned=planned_step("save", Sql(text="select 1"))))
    for number in range(60):
        live.event(ActionProgress(path="save", key=str(number), what=f"table {number} " + "x" * 300))
    lines = draw(live).rstrip().splitlines()
    assert len(lines) == live._console.height - 4 and lines[-1].strip() == f"and {60 + 1 - len(lines) + 1} more"
    console = Console(file=io.StringIO(), width=60, color_system=None)
    with console.capture() as capture:
        console.print(live._draw())
    assert all(len(line) <= 60 for line in capture.get().splitlines())


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_printed_lines_break_between_words_and_keep_their_style(
    screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    message = "waits for SHARE on public.a_table_with_a_name_that_is_long and 表表表 表表表 表表表, " * 3
    text = live_module.wrap_text(Text.assemble(("✓ ", "green"), ("load", "bold"), f"  {message}"), width)
    lines = text.plain.split("\n")
    longest = max(map(width_of, message.split())) + 2
    assert all(width_of(line) <= max(width, longest + width_of("✓ load  waits for SHARE on ")) for line in lines)
    assert width < longest or all(width_of(line) <= width for line in lines)
    assert " ".join(text.plain.split()) == " ".join(f"✓ load  {message}".split())
    assert text.spans[0].style == "green" and text.spans[1].style == "bold"


def test_a_diff_draws_nothing(screen: io.StringIO) -> None:
    live = Live()
    live.event(RunBegan(**{**vars(BEGAN), "mode": "diff"}))
    live.event(StepPlanned(planned=planned_step("save")))
    live.event(StepEnded(outcome=Outcome(path="save", state=State.WOULD)))
    assert draw(live).strip() == "" and screen.getvalue() == ""


def test_hostile_names_are_text_on_a_live_display(screen: io.StringIO) -> None:
    live = Live()
    live.event(StepPlanned(planned=planned_step("a", because=HOSTILE)))
    phases = (PhaseProgress(phase=HOSTILE, done=1, total=2),)
    live.event(ActionProgress(path="a", key="k", what=HOSTILE, phases=phases))
    live.event(ServerProgress(connection="", lines=(HOSTILE,), waits=HOSTILE))
    clean(draw(live))
    live.event(Progress(path="a", what=HOSTILE, done=0, total=0, unit="line"))
    live.event(Retrying(path="a", attempt=1, of=2, delay=1, message=HOSTILE))
    live.event(Waiting(connection="", message=HOSTILE))
    live.event(StepEnded(outcome=Outcome(path="a", state=State.FAILED, message=HOSTILE, outputs={"name": HOSTILE})))
    assert "[bold]red[/]" in clean(screen.getvalue()), "rich reads no markup in it"


def test_a_question_hides_the_display(screen: io.StringIO) -> None:
    with Live() as live:
        live.event(StepPlanned(planned=planned_step("a")))
        with live.pause():
            assert not live._live.is_started
        assert live._live.is_started


def test_who_listens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    assert not results.live_terminal(), "a captured stderr is no terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert results.live_terminal()
    for name, value in (("TERM", "dumb"), ("CI", "1")):
        with monkeypatch.context() as inner:
            inner.setenv(name, value)
            assert not results.live_terminal()
