"""Follow a run from elsewhere by its journal: its records become events again, until it ends, or is seen to be dead."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runner.cancel import Cancel
from runner.errors import Mark, PlanrunError
from runner.events import AtWork, Event, RunBegan, StepEnded, StepPlanned, at_work_from_json
from runner.journal import history
from runner.journal.history import RunRecord
from runner.journal.records import Journal, Record
from runner.kinds import KINDS
from runner.model import Outcome, PlannedStep, State, Step

SILENT = 60.0
"""Seconds without a record after which the watcher says so; a run notes something every few seconds."""
_LOOK = 5.0
"""Seconds between two looks whether the run still holds its lock, or its process is there."""


@dataclass
class Watch:
    """A look at the newest run of a plan, repeated. holder: returns who holds the lock of the plan, "" if nobody;
    None: the plan takes no lock. tell: gets the records and their events; say: gets what the watcher itself has to say.
    """

    journal: Journal
    plan: str
    holder: Callable[[], str] | None
    tell: Callable[[Record, Event], object]
    say: Callable[[str], object]
    clock: Callable[[], float] = time.time
    _records: list[Record] = field(default_factory=list)
    _told: set[tuple[object, ...]] = field(default_factory=set)
    _mark: int = 0
    _said: float = 0.0
    _looked: float = 0.0

    def follow(self, every: float, cancel: Cancel) -> RunRecord | None:
        """Watch until the run ends or is dead; return it, None if there is none. Raises the reason of a cancel.

        While somebody holds the lock whose run has not begun, there is a diff or a question: wait for it.
        """
        run = self._newest()
        while (run is None or run.state != "cut off") and self.holder is not None and self.holder():
            self._say_at_times("a run is being prepared: its diff is made, or its question is not answered yet")
            cancel.wait(every)
            cancel.check()
            run = self._newest()
        if run is not None:
            self._tell(self._of_newest_attempt(run))
        while run is not None and run.state == "cut off":
            if self._has_gone(run):
                return self._look_again(run)  # it may have ended between the two looks
            cancel.wait(every)
            cancel.check()
            run = self._look_again(run)
        return run

    def _newest(self) -> RunRecord | None:
        found, self._mark = self.journal.since(self._mark)
        self._records += found
        runs = [run for run in history.fold(self._records, brief=True) if run.plan == self.plan]
        return runs[-1] if runs else None

    def _of_newest_attempt(self, run: RunRecord) -> Sequence[Record]:
        self._records = [one for one in self._records if one.get("run") == run.id]
        began = [number for number, one in enumerate(self._records) if one.get("event") == "run_began"]
        return self._records[began[-1] :]

    def _look_again(self, run: RunRecord) -> RunRecord:
        try:
            found, self._mark = self.journal.since(self._mark)
        except PlanrunError as exc:  # the database of the journal may be away for a while
            self._say_at_times(f"the journal cannot be read: {exc.message}")
            return run
        mine = [one for one in found if one.get("run") == run.id]
        self._records = [one for one in self._records if one.get("event") != "at_work"] + mine
        self._tell(mine)
        return next(iter(history.fold(self._records)), run)

    def _tell(self, records: Sequence[Record]) -> None:
        """Tell of records that were not told yet; a note comes last, as it is newer than what stands behind it."""
        for record in sorted(records, key=lambda one: one.get("event") == "at_work"):
            key = tuple(str(record.get(name)) for name in ("event", "path", "at", "seconds"))
            if key in self._told:
                continue
            self._told.add(key)
            for event in _events(record):
                self.tell(record, event)

    # -------------------------------------------------------------- is it still at work?

    def _has_gone(self, run: RunRecord) -> bool:
        """Return whether the process of the run is gone; say so if it has been silent for long."""
        now = self.clock()
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        if self._is_dead(run):
            return True
        silent = now - _seconds(run.last) if run.last else 0.0
        if silent >= SILENT:
            self._say_at_times(f"run {run.id} has written nothing for {silent:.0f} s; it may be hung, or cut off")
        return False

    def _is_dead(self, run: RunRecord) -> bool:
        if self.holder is not None:
            try:
                return not self.holder()
            except PlanrunError as exc:
                self._say_at_times(f"planrun cannot tell whether the run is at work: {exc.message}")
                return False
        return run.host == socket.gethostname() and not _is_there(run.pid)

    def _say_at_times(self, text: str) -> None:
        if self.clock() - self._said >= SILENT:
            self._said = self.clock()
            self.say(text)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).astimezone(UTC).timestamp()


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it belongs to another user
        return True
    return True


# ------------------------------------------------------------------ records as events


def _events(record: Record) -> Iterator[Event]:
    """Yield the event of a record as far as a display needs it; nothing for other records, and for a strange one."""
    if not history.is_known(record):
        return
    match record["event"]:
        case "run_began":
            yield _run_began(record)
        case "turn" if not record.get("settled"):
            yield StepPlanned(planned=_step_of(record))
        case "outcome" if not record.get("recorded"):
            yield StepEnded(outcome=_outcome(record))
        case "at_work":
            if isinstance(found := at_work_from_json(record), AtWork):
                yield found
        case _:
            pass


def _run_began(record: Record) -> RunBegan:
    return RunBegan(
        run=record["run"], plan=record["plan"], file=str(record.get("file", "")), mode=record["mode"],
        digest=record["digest"], total=int(record.get("total", 0)), host=record["host"], pid=record["pid"],
        user=record["user"], version=str(record.get("version", "")),
    )  # fmt: skip


def _step_of(record: Record) -> PlannedStep:
    uses = record.get("uses", "")
    kind, template = (uses, "") if uses in KINDS else ("", "" if uses == "group" else uses)
    step = Step(id=record["path"], where=Mark("", 0, 0), kind=kind, template=template)
    return PlannedStep(step=step, path=record["path"], because=record.get("because", ""))


def _outcome(record: Record) -> Outcome:
    kept = {name: record[name] for name in ("message", "hint", "code", "outputs", "seconds") if name in record}
    return Outcome(path=record["path"], state=State(record["state"]), **kept)
