"""Show live progress on a terminal: finished steps scroll up, running ones stay at the bottom with their bars."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.spinner import Spinner
from rich.text import Text

from runner.board import Board
from runner.events import (
    AtWork,
    Event,
    HooksBegan,
    PhaseProgress,
    Progress,
    Resuming,
    Retrying,
    RunBegan,
    StepEnded,
    Waiting,
)
from runner.model import State
from runner.report import progress
from runner.report.heartbeat import Heartbeat
from runner.report.text import event_line, outcome_message, outputs_text
from runner.words import one_line, printable, seconds, wrap

_LOOK = {
    State.OK: ("✓", "green"),
    State.WARNED: ("!", "yellow"),
    State.FAILED: ("✗", "bold red"),
    State.SKIPPED: ("-", "dim"),
    State.WOULD: ("+", "cyan"),
    State.UNKNOWN: ("?", "magenta"),
}


class Live:
    """A Listener for terminals. It always draws data as Text, so that `[x]` in a table's name is not markup.

    quiet: only draw what is at work, and print no events. brief: a text follows that says why a step failed.
    heading: also say which run it is.
    """

    def __init__(self, *, quiet: bool = False, brief: bool = False, heading: bool = False) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock, self._quiet, self._brief, self._heading = threading.Lock(), quiet, brief, heading
        self._board, self._spinner = Board(), Spinner("dots")
        self._live = RichLive(
            get_renderable=self._draw, console=self._console, refresh_per_second=8, transient=True, auto_refresh=True
        )
        self._heartbeat = Heartbeat(self._board, self._tell, None)

    def __enter__(self) -> Self:
        self._live.start()
        self._heartbeat.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._heartbeat.__exit__()
        self._live.stop()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        self._live.stop()
        sys.stderr.flush()
        try:
            yield
        finally:
            self._live.start()

    def ask(self) -> None:
        if self._live.is_started:
            self._heartbeat.ask()

    def _tell(self, at_work: AtWork | None, asked: bool) -> None:
        if self._live.is_started:
            self._print(Text(progress.line(at_work) if at_work else progress.IDLE))

    def event(self, event: Event) -> None:
        self._board.take(event)
        if not self._quiet:
            with self._lock:
                self._print_event(event)

    def _print_event(self, event: Event) -> None:
        match event:
            case Progress(unit="line"):
                self._print(Text(f"  {event.path}| {printable(event.what.rstrip())}", "dim"))
            case StepEnded() if not self._board.diffing:
                self._print(_outcome_line(event, brief=self._brief))
            case Resuming() | RunBegan() if isinstance(event, Resuming) or self._heading:
                self._print(Text(event_line(event)))
            case HooksBegan():
                self._print(Text(event_line(event), "dim"))
            case Waiting() | Retrying():
                self._print(Text(f"  {event_line(event)}", "yellow"))
            case _:
                pass

    def _print(self, text: Text) -> None:
        self._console.print(wrap_text(text, self._console.width))

    # -------------------------------------------------------------- what is at work

    def _draw(self) -> Any:
        at_work = self._board.at_work()
        if at_work is None:
            return Text("")
        lines = [self._head(at_work), *_lines(at_work)]
        most = max(1, self._console.height - _FREE_ROWS)
        if len(lines) > most:
            lines = [*lines[: most - 1], Text(f"    and {len(lines) - most + 1} more", "dim")]
        return Group(*lines)

    def _head(self, at_work: AtWork) -> Text:
        spinner = self._spinner.render(self._console.get_time())
        found = Text.assemble(
            spinner if isinstance(spinner, Text) else "",
            " ",
            (one_line(at_work.path), "bold"),
            f"  {one_line(at_work.uses)}  ",
            (f"{seconds(at_work.seconds)}{progress.share(at_work.progress)}", "dim"),
        )
        return _cut(found)


_FREE_ROWS = 4
"""Rows of the terminal that the display leaves to what was printed before it."""
_BAR = 24


def _lines(at_work: AtWork) -> Iterator[Text]:
    for action in at_work.progress:
        for phase in action.phases:
            yield _phase_line(phase)
        if action.what:
            yield _cut(Text(f"    {one_line(action.what)}", "dim"))
    for line in at_work.server:
        yield _cut(Text(f"    {one_line(line)}", "dim"))
    if at_work.waits:
        yield _cut(Text(f"    {one_line(at_work.waits)}", "yellow"))


def _phase_line(phase: PhaseProgress) -> Text:
    full = min(_BAR - 1, phase.done * _BAR // phase.total) if phase.total else 0
    return _cut(
        Text.assemble(
            "    ",
            ("━" * full, "green"),
            ("─" * (_BAR - full), "bright_black"),
            f" {one_line(phase.phase)} ",
            (progress.amount(phase), "dim"),
        )
    )


def _cut(text: Text) -> Text:
    """Return a line that is cut off where the terminal ends: the display must not be higher than what it erases."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _outcome_line(event: StepEnded, *, brief: bool) -> Text:
    outcome = event.outcome
    sign, style = _LOOK[outcome.state]
    line = Text.assemble((f"{sign} ", style), (outcome.path, "bold"), ("  " + outcome.state.value, style))
    for word in (outcome_message(event, brief=brief), outputs_text(outcome.outputs)):
        if word:
            line.append("  " + one_line(word))
    if outcome.seconds >= 0.001:
        line.append(f"  {seconds(outcome.seconds)}", "dim")
    return line


def wrap_text(text: Text, width: int) -> Text:
    """Return the text with line breaks between words, so that the terminal breaks none; a style stays as it is."""
    plain, found, at = text.plain, Text(), 0
    for number, line in enumerate(wrap(plain, width)):
        words = line.strip()
        start = plain.index(words, at) if words else at
        if number:
            found.append("\n" + line[: len(line) - len(line.lstrip())])
            found.append_text(text[start : start + len(words)])
        else:
            found.append_text(text[: start + len(words)])
        at = start + len(words)
    return found
