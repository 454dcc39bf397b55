"""The facts of one run, read from its records: attempts, steps, objects, measures, waits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from runner import kinds
from runner.journal import history
from runner.journal.records import Record
from runner.model import State, command
from runner.webpage.fields import Fields, mapping, moment, number, objects, text, texts

NO_END = "cut off"
"""The state of a run without a recorded end: it was killed, or is still at work."""


@dataclass(kw_only=True)
class Done:
    """An action that was done. began: None for a journal that did not note how long an action took."""

    key: str
    result: Fields
    ended: datetime | None
    began: datetime | None
    seconds: float | None


@dataclass(kw_only=True)
class Wait:
    """A wait for a lock. path: the step. seconds: None if its end is not recorded.

    about: `about` if it was seen from time to time, `at most` for an attempt at locks that failed; then `resumes` is
    when the next attempt began.
    """

    path: str
    connection: str
    message: str
    began: datetime | None
    seconds: float | None = None
    about: str = "about"
    resumes: datetime | None = None


@dataclass(kw_only=True)
class StepFacts:
    """A step in one attempt. state is "" while no end is recorded. order: its place among the records."""

    path: str
    uses: str
    because: str
    acknowledge: str
    actions: tuple[Fields, ...]
    objects: tuple[Fields, ...]
    coming: tuple[Fields, ...]
    locks: tuple[str, ...]
    began: datetime | None
    recorded: bool = False
    state: str = ""
    message: str = ""
    hint: str = ""
    code: str = ""
    outputs: Fields = field(default_factory=dict)
    seconds: float | None = None
    tries: int = 1
    ended: datetime | None = None
    done: list[Done] = field(default_factory=list)

    @property
    def has_succeeded(self) -> bool:
        return self.state in (State.OK, State.WARNED)

    @property
    def is_group(self) -> bool:
        return not self.actions and self.uses not in kinds.names()


@dataclass(kw_only=True)
class Attempt:
    """One go at a run: its start or a resume."""

    number: int
    mode: str
    began: datetime | None
    record: Fields
    state: str = NO_END
    message: str = ""
    ended: datetime | None = None
    seconds: float | None = None
    steps: dict[str, StepFacts] = field(default_factory=dict)
    waits: list[Wait] = field(default_factory=list)

    def current(self) -> str:
        """Return the path of the step that is at work, "" if none is."""
        return next((path for path, step in reversed(self.steps.items()) if not step.state), "")


@dataclass(kw_only=True)
class RunFacts:
    """One run. steps: each as the last attempt that did it left it, groups before their steps."""

    id: str
    attempts: list[Attempt] = field(default_factory=list)
    exit_code: int | None = None
    next: str = ""
    way_back: str = ""
    last: datetime | None = None

    @property
    def first_record(self) -> Fields:
        return self.attempts[0].record

    @property
    def record(self) -> Fields:
        """How the last attempt began."""
        return self.attempts[-1].record

    @property
    def state(self) -> str:
        return self.attempts[-1].state

    @property
    def message(self) -> str:
        return self.attempts[-1].message

    @property
    def began(self) -> datetime | None:
        return self.attempts[0].began

    @property
    def ended(self) -> datetime | None:
        return self.attempts[-1].ended

    @property
    def seconds(self) -> float | None:
        """The seconds that its attempts worked; None without a recorded end."""
        known = [one.seconds for one in self.attempts if one.seconds is not None]
        return sum(known) if len(known) == len(self.attempts) else None

    @property
    def next_command(self) -> str:
        """Return the command to type now, "" if there is nothing to do."""
        if self.state != NO_END:
            return self.next
        record, mode = self.record, text(self.first_record, "mode")
        resume = ("--resume",) if mode == "apply" else ()
        verb = mode if mode in ("apply", "rollback", "abort") else "status"
        return command(text(record, "file"), texts(record, "sets"), verb, *resume, *texts(record, "options"))

    def steps(self) -> list[StepFacts]:
        found: dict[str, StepFacts] = {}
        for attempt in self.attempts:
            for path, step in attempt.steps.items():
                if not (step.recorded and path in found):
                    found.pop(path, None)
                    found[path] = step
        return _groups_first(found.values())

    def waits(self) -> list[Wait]:
        return [wait for attempt in self.attempts for wait in attempt.waits]


def _groups_first(steps: Iterable[StepFacts]) -> list[StepFacts]:
    """Return the steps with each group before its steps; a journal has it after them."""
    found: list[StepFacts] = []
    for step in steps:
        at = len(found)
        while at and found[at - 1].path.startswith((step.path + ".", step.path + "[")):
            at -= 1
        found.insert(at, step)
    return found


def run_facts(records: Iterable[Record]) -> RunFacts | None:
    """Return the facts of one run from its records; None if it has not begun. Records of unknown shape are skipped."""
    found: RunFacts | None = None
    for record in records:
        if not history.is_known(record):
            continue
        if record["event"] == "run_began":
            found = found or RunFacts(id=record["run"])
            found.attempts.append(_attempt(len(found.attempts) + 1, record))
        elif found:
            _take(found, found.attempts[-1], record)
        if found:
            found.last = moment(record) or found.last
    return found


def _attempt(count: int, record: Fields) -> Attempt:
    return Attempt(number=count, mode=text(record, "mode"), began=moment(record), record=record)


def _take(run: RunFacts, attempt: Attempt, record: Record) -> None:
    match record["event"]:
        case "turn":
            _take_step(attempt, record)
        case "action_done" | "committing":
            _take_action(attempt, record)
        case "outcome":
            _take_outcome(attempt, record)
        case "waiting":
            _take_wait(attempt, record)
        case "wait_ended":
            _end_wait(attempt, record)
        case "retrying":
            _take_retry(attempt, record)
        case "run_ended":
            attempt.state, attempt.message = record["state"], record["message"]
            attempt.ended, attempt.seconds = moment(record), number(record, "seconds")
            run.exit_code, run.next, run.way_back = record["exit_code"], record["next"], text(record, "way_back")


def _take_step(attempt: Attempt, record: Record) -> None:
    path = record["path"]
    attempt.steps.pop(path, None)
    attempt.steps[path] = StepFacts(
        path=path, uses=text(record, "uses"), because=text(record, "because"),
        acknowledge=text(record, "acknowledge"), actions=objects(record, "actions"),
        objects=objects(record, "objects"), coming=objects(record, "coming"), locks=texts(record, "locks"),
        began=moment(record),
    )  # fmt: skip


def _take_action(attempt: Attempt, record: Record) -> None:
    step = attempt.steps.get(record["path"])
    if step is None:
        return
    took, ended = number(record, "seconds") or None, moment(record)
    began = ended - timedelta(seconds=took) if ended and took is not None and took < 1e9 else None
    done = Done(key=record["key"], result=record["result"], ended=ended, began=began, seconds=took)
    if step.done and step.done[-1].key == done.key:  # announced before its COMMIT, then done
        step.done.pop()
    step.done.append(done)


def _take_outcome(attempt: Attempt, record: Record) -> None:
    path = record["path"]
    if path not in attempt.steps:
        _take_step(attempt, {"path": path})
    step = attempt.steps[path]
    step.state, step.message, step.hint = record["state"], text(record, "message"), text(record, "hint")
    step.code, step.outputs, step.seconds = text(record, "code"), mapping(record, "outputs"), number(record, "seconds")
    step.recorded, step.ended = record.get("recorded") is True, moment(record)
    step.tries = int(number(record, "attempts") or 1)


def _take_wait(attempt: Attempt, record: Record) -> None:
    _end_wait(attempt, record)
    wait = Wait(
        path=attempt.current(), connection=record["connection"], message=record["message"], began=moment(record)
    )
    attempt.waits.append(wait)


def _end_wait(attempt: Attempt, record: Record) -> None:
    """End the last wait of a connection: it waits for nothing any more, or for somebody else."""
    at = moment(record)
    for wait in reversed(attempt.waits):
        if wait.connection == record["connection"] and wait.resumes is None:
            if wait.seconds is None and wait.began and at:
                wait.seconds = max((at - wait.began).total_seconds(), 0.0)
            return


def _take_retry(attempt: Attempt, record: Record) -> None:
    """Take an attempt at locks that failed as a wait: it lasted since the attempt before, without the pause."""
    at, path = moment(record), record["path"]
    step = attempt.steps.get(path)
    if at is None or step is None or number(record, "of"):  # a step that is repeated as a whole is no wait
        return
    since = next((one.resumes for one in reversed(attempt.waits) if one.path == path and one.resumes), step.began)
    took = max((at - since).total_seconds(), 0.0) if since else None
    resumes = at + timedelta(seconds=min(number(record, "delay") or 0.0, 1e6))
    attempt.waits.append(
        Wait(
            path=path, connection="", message=record["message"], began=since, seconds=took, about="at most",
            resumes=resumes,
        )
    )  # fmt: skip


def outcome_counts(steps: Iterable[StepFacts]) -> Mapping[str, int]:
    """Return how many steps ended in each state, in the order of a diff; groups are left out."""
    found: dict[str, int] = {state.value: 0 for state in State}
    found["begun, no end written"] = 0
    for step in steps:
        if not step.is_group:
            found[step.state or "begun, no end written"] += 1
    return {state: count for state, count in found.items() if count}


def output_tables(outputs: Fields) -> tuple[Mapping[str, Any], ...]:
    """Return the tables that a step gave: those with a schema and a name."""
    return tuple(one for one in objects(outputs, "tables") if text(one, "name"))
