"""The report that `apply --report DIR` and `rollback --report DIR` write when their run ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.errors import PlanrunError
from runner.events import Event, RunBegan, to_json
from runner.report.colours import show
from runner.words import one_line

if TYPE_CHECKING:
    from runner.cli.sinks import Sink
    from runner.journal.records import Record

OPTION = "--report"


def report_option(function: Callable[..., Any]) -> Callable[..., Any]:
    help_text = "Write a report of the run to this folder, as one HTML file, however the run ends."
    return click.option(OPTION, "report", default="", metavar="DIR", help=help_text)(function)


def report_address(folder: str, plan: str) -> str:
    """Return the file that --report will write for a run of a plan, with `{run}` in place of the run; "" without it."""
    from runner.webpage import stored_report

    if not folder:
        return ""
    name = stored_report.file_name(plan, "0").removesuffix("0.html")
    return str(Path(folder).expanduser().absolute() / f"{name}{{run}}.html")


Read = Callable[[str], Sequence["Record"]]
"""Returns the records of a run from its journal. Raises PlanrunError."""


class ReportSink:
    """Writes the report of a run from its journal; if that cannot be read, from the events that it has received."""

    name = OPTION

    def __init__(self, folder: Path, read: Read) -> None:
        self._folder, self._read = folder, read
        self._run, self._plan = "", ""
        self._events: list[Record] = []
        self.file: Path | None = None
        self.note = ""

    @property
    def has_begun(self) -> bool:
        """Whether the run has begun, so that there is something to report."""
        return bool(self._run)

    def event(self, event: Event) -> None:
        from runner.journal.records import is_kept

        if isinstance(event, RunBegan):
            self._run, self._plan = ("", "") if event.mode == "diff" else (event.run, event.plan)
        if self._run and is_kept(event):
            self._events.append({"run": self._run, **to_json(event)})

    def close(self) -> None:
        """Write the file. Raises PlanrunError if the folder cannot be written."""
        from runner.webpage import run_page, stored_report

        if not self._run:
            return
        records = self._records()
        text = run_page.page(records, made=datetime.now(UTC))
        file = self._folder / stored_report.file_name(self._plan, self._run)
        stored_report.write(file, text)
        self.file = file

    def _records(self) -> Sequence[Record]:
        try:
            found = self._read(self._run)
        except PlanrunError as exc:
            self.note = f"the journal cannot be read ({one_line(exc.message)}): it tells of this attempt alone"
            return self._events
        return found or self._events


@contextlib.contextmanager
def report_to(folder: str, read: Read) -> Iterator[list[Sink]]:
    """Yield the sinks for --report, and name the file afterwards, also when the run raised an error."""
    if not folder:
        yield []
        return
    made = Path(folder).expanduser()
    _refuse_file(made)
    sink = ReportSink(made, read)
    try:
        yield [sink]
    finally:
        if sink.note:
            show(f"warning: {OPTION}: {sink.note}", sys.stderr)
        if not sink.has_begun:
            show("report: none, as no run began", sys.stderr)
        if sink.file:
            show(f"report: {one_line(os.fspath(sink.file))}", sys.stderr)


def _refuse_file(folder: Path) -> None:
    """Raise UsageError for what is no folder, before the run does anything."""
    from runner.errors import UsageError

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{OPTION} {folder}: that is a file", hint="name a folder; planrun makes it", code="PR1108")
