"""Show live progress on a terminal: finished steps scroll up, running ones stay at the bottom with their bars."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from runner.events import Event, HooksBegan, Progress, Resuming, Retrying, RunBegan, StepEnded, StepPlanned, Waiting
from runner.model import PlannedStep, State
from runner.report.text import event_line, outputs_text
from runner.words import one_line, printable, seconds, size

_LOOK = {
    State.OK: ("✓", "green"),
    State.WARNED: ("!", "yellow"),
    State.FAILED: ("✗", "bold red"),
    State.SKIPPED: ("-", "dim"),
    State.WOULD: ("+", "cyan"),
    State.UNKNOWN: ("?", "magenta"),
}


class Live:
    """A Listener for terminals. It always draws data as Text, so that `[x]` in a table's name is not markup."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = threading.Lock()
        self._planned_step: PlannedStep | None = None
        self._began = time.monotonic()
        self._bars: dict[str, Progress] = {}
        self._live = RichLive(get_renderable=self._draw, console=self._console, refresh_per_second=8, transient=True)
        self._diffing = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        self._live.stop()
        sys.stderr.flush()
        try:
            yield
        finally:
            self._live.start()

    def event(self, event: Event) -> None:
        with self._lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunBegan(mode=mode):
                self._diffing = mode == "diff"
            case StepPlanned(planned=planned) if planned.settled is None:
                self._planned_step, self._began = planned, time.monotonic()
                self._bars.clear()
            case Progress(unit="line"):
                self._console.print(Text(f"  {event.path}| {printable(event.what.rstrip())}", "dim"))
            case Progress():
                self._bars[event.unit] = event
            case StepEnded() if not self._diffing:
                self._planned_step = None
                self._bars.clear()
                self._console.print(self._outcome_line(event))
            case Resuming():
                self._console.print(Text(event_line(event)))
            case HooksBegan():
                self._console.print(Text(event_line(event), "dim"))
            case Waiting():
                self._console.print(Text(f"  {event_line(event)}", "yellow"))
            case Retrying():
                self._console.print(Text(f"  {event_line(event)}", "yellow"))
            case _:
                pass

    def _outcome_line(self, event: StepEnded) -> Text:
        outcome = event.outcome
        sign, style = _LOOK[outcome.state]
        line = Text.assemble((f"{sign} ", style), (outcome.path, "bold"), ("  " + outcome.state.value, style))
        for word in (outcome.message, outputs_text(outcome.outputs)):
            if word:
                line.append("  " + one_line(word))
        if outcome.seconds >= 0.001:
            line.append(f"  {seconds(outcome.seconds)}", "dim")
        return line

    def _draw(self) -> Any:
        planned = self._planned_step
        if planned is None or self._diffing:
            return Text("")
        spent = seconds(time.monotonic() - self._began)
        head = Spinner(
            "dots", Text.assemble((planned.path, "bold"), f"  {one_line(planned.step.uses)}  ", (spent, "dim"))
        )
        return Group(head, *([self._table()] if self._bars else []))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for bar in list(self._bars.values()):
            done = ProgressBar(total=bar.total or None, completed=bar.done, width=24, pulse=not bar.total)
            table.add_row("   ", Text(one_line(bar.what)), done, Text(_amount(bar), "dim"))
        return table


def _amount(bar: Progress) -> str:
    if bar.unit == "bytes":
        return size(bar.done) + (f" of {size(bar.total)}" if bar.total else "")
    return f"{bar.done:,}" + (f" of {bar.total:,}" if bar.total else "") + f" {bar.unit}"
