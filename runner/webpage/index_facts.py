"""The facts of the index: the runs and sessions of plans, from their journals, their folders and reports. Pure."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePath

from runner.journal.history import RunRecord, fold
from runner.journal.records import Record
from runner.model import State
from runner.session_facts import SessionFacts
from runner.webpage.fields import Fields, mapping, moment, number, objects, text, whole
from runner.webpage.stored_report import Stored

FEWEST = 4
"""Good runs that are needed to tell the usual time between two of them."""

PROVED = 3
"""The level of a verification that restores a session into a scratch database."""


@dataclass(frozen=True, kw_only=True)
class PlanFacts:
    """What is known of one plan. milestones: records of its journal with the plan's name; sessions: folder and facts.

    databases: a line for each connection. notes: what could not be read, in words.
    """

    name: str
    file: str = ""
    databases: Sequence[str] = ()
    milestones: Sequence[tuple[str, Record]] = ()
    sessions: Sequence[tuple[str, SessionFacts]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run. seconds: None if its end is not recorded. link: the name of its report, "" if there is none."""

    plan: str
    id: str
    mode: str
    state: str
    began: datetime | None
    seconds: float | None
    message: str
    link: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A verification or a restore of a session. level: 0 for a restore. seconds: None if they are not recorded."""

    session: str
    at: datetime | None
    level: int
    state: str
    seconds: float | None
    plan: str

    @property
    def is_drill(self) -> bool:
        """Whether rows were really restored."""
        return self.level in (0, PROVED)


@dataclass(kw_only=True)
class Session:
    """A backup session. state: as `backups list` says it, or `gone` if only the journal knows it."""

    plan: str
    name: str
    taken: datetime | None
    state: str
    level: int
    rows: int
    bytes: int
    proofs: list[Proof] = field(default_factory=list)

    @property
    def restored(self) -> datetime | None:
        """When it was last restored, in earnest or for a proof; None if no journal has it."""
        times = [one.at for one in self.proofs if one.is_drill and one.state == State.OK and one.at]
        return max(times, default=None)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """When the next run of a plan would come if it kept the usual time between its good runs."""

    plan: str
    usual: float
    at: datetime


def runs(plan: PlanFacts, reports: Mapping[tuple[str, str], Stored]) -> Iterator[Run]:
    for name, records in _by_plan(plan.milestones).items():
        for run in fold(records):
            stored = reports.get((name, run.id))
            yield Run(
                plan=name, id=run.id, mode=run.mode, state=run.state, began=run.began, seconds=_seconds(run),
                message=run.message, link=_link(stored) if stored else "",
            )  # fmt: skip


def _link(stored: Stored) -> str:
    """Return the name of a report's file, "" for one that is no Unicode, which no address can hold."""
    try:
        stored.file.name.encode()
    except UnicodeEncodeError:
        return ""
    return stored.file.name


def _seconds(run: RunRecord) -> float | None:
    return max((run.ended - run.began).total_seconds(), 0.0) if run.ended and run.began else None


def _by_plan(milestones: Iterable[tuple[str, Record]]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for name, record in milestones:
        found.setdefault(name, []).append(record)
    return found


def run_of_report(stored: Stored) -> Run:
    """Return the run of a report, for a page that is made without a journal."""
    began, ended = (moment({"at": each}) for each in (stored.began, stored.ended))
    return Run(
        plan=stored.plan, id=stored.run, mode=stored.mode, state=stored.state, began=began,
        seconds=max((ended - began).total_seconds(), 0.0) if began and ended else None, message="",
        link=_link(stored),
    )  # fmt: skip


def sessions(plan: PlanFacts) -> list[Session]:
    """Return the sessions in the plan's folders and those that only its journal knows, oldest first."""
    found = {
        facts.name: Session(
            plan=facts.plan or plan.name,
            name=facts.name,
            taken=facts.taken,
            state=facts.state,
            level=facts.verified,
            rows=facts.rows,
            bytes=facts.bytes,
        )
        for _, facts in plan.sessions
    }
    for name, record in plan.milestones:
        if record.get("event") == "outcome":
            for outputs in (mapping(record, "outputs"), *objects(mapping(record, "outputs"), "results")):
                _take(found, name, record, outputs)
    return sorted(found.values(), key=lambda one: (one.taken is None, one.taken and one.taken.timestamp(), one.name))


def _take(found: dict[str, Session], plan: str, record: Record, outputs: Fields) -> None:
    """Take what a step did with a session: it made, proved or restored it."""
    name = PurePath(text(outputs, "session")).name
    if not name:
        return
    proves, makes = "level" in outputs, "left_out" in outputs
    if makes and name not in found and record.get("state") in (State.OK, State.WARNED):
        found[name] = Session(
            plan=plan, name=name, taken=moment(record), state="gone", level=0, rows=whole(outputs, "rows") or 0,
            bytes=whole(outputs, "bytes") or 0,
        )  # fmt: skip
    if not makes and name in found:
        level = (whole(outputs, "level") or 0) if proves else 0
        found[name].proofs.append(
            Proof(
                session=name, at=moment(record), level=level, state=text(record, "state"),
                seconds=number(record, "seconds"), plan=plan,
            )
        )  # fmt: skip
        found[name].level = max(found[name].level, level)


def next_run(plan: str, runs: Iterable[Run]) -> Expected | None:
    """Return when the next run would come by the usual time between the good ones; None if these are too few."""
    good = [one for one in runs if one.plan == plan and one.mode == "apply" and one.state == "ok" and one.began]
    times = sorted(one.began for one in good if one.began)[-20:]
    if len(times) < FEWEST:
        return None
    usual = statistics.median((later - before).total_seconds() for before, later in itertools.pairwise(times))
    return Expected(plan=plan, usual=usual, at=times[-1] + timedelta(seconds=usual))
