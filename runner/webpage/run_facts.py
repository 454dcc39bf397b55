"""The facts of one run: its attempts with their steps, actions and waits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runner import kinds
from runner.model import State, command
from runner.report.text import groups_first
from runner.webpage.fields import Fields, objects, text, texts

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
        return groups_first(found.values())

    def waits(self) -> list[Wait]:
        return [wait for attempt in self.attempts for wait in attempt.waits]


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
