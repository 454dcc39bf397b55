"""What a rehearsal found, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.catalog_difference import Change
from runner.result import RunResult, StepResult
from runner.table_name import Named

MODES = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
    "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
"""Lock modes, the weakest first (PostgreSQL docs 13.3.1)."""


@dataclass(frozen=True, kw_only=True)
class HeldLock(Named):
    """One lock that a step held. statement: the beginning of what took it, "" where that is not known.

    milliseconds: from before the first statement of its transaction to the answer of its COMMIT, so at most; of what
    was only seen from outside (exact: false) between the first and the last look, so at least.
    """

    path: str
    connection: str
    schema: str
    name: str
    mode: str
    milliseconds: float
    statement: str = ""
    exact: bool = True

    @property
    def strength(self) -> int:
        return MODES.index(self.mode)

    @property
    def stops(self) -> str:
        """What others have to wait for meanwhile."""
        if self.strength == len(MODES) - 1:
            return "reads and writes"
        return "writes" if self.strength >= MODES.index("ShareLock") else "changes of its structure"

    def to_json(self) -> dict[str, Any]:
        told = {"step": self.path, "connection": self.connection, "schema": self.schema, "name": self.name}
        return told | {
            "mode": self.mode, "milliseconds": round(self.milliseconds, 3), "exact": self.exact,
            "statement": self.statement,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement that a program of a step sent, and how many milliseconds it took."""

    path: str
    text: str
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class CopyFacts:
    """One scratch copy. of: the original's line. version: the PostgreSQL that it was on; private: made for this.

    connections: those that led to it. left_out: what it lacked, in words.
    """

    connections: tuple[str, ...]
    of: str
    version: str
    private: bool
    same_major: bool
    rows: int
    tables: int
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """What a run changed. catalogs: by the connection of the copy. rows: tables whose rows are others, None where no
    rows were copied. own: what planrun keeps there now, in words."""

    catalogs: Mapping[str, Sequence[Change]]
    rows: tuple[str, ...] | None
    own: tuple[str, ...]

    @property
    def none(self) -> bool:
        return not any(self.catalogs.values()) and not self.rows


@dataclass(frozen=True, kw_only=True)
class RehearsalResult:
    """The result of `planrun rehearse`.

    state: ok, failed (a step failed), changed (the rollback does not give back the start) or interrupted. wanted: which
    rows were copied, and how many of each table. applied: what the run changed. undone: what is other than at the start
    after the rollback. rollback, undone: None without a `rollback:`, or where it was not reached. statements: what
    programs sent, as far as the server could tell. answers: the questions that were answered with yes. moved: paths of
    the plan that led into a folder of the rehearsal. outside: what was not led elsewhere. next: the command to type.
    """

    plan: str
    file: str
    state: str
    exit_code: int
    seconds: float
    wanted: str
    copies: tuple[CopyFacts, ...]
    run: RunResult
    applied: Differences
    rollback: RunResult | None = None
    undone: Differences | None = None
    locks: tuple[HeldLock, ...] = ()
    statements: tuple[Statement, ...] = ()
    answers: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    next: str = ""
    has_rollback: bool = False


def as_rehearsed(diff: RunResult, rehearsal: RehearsalResult) -> RunResult:
    """Return the diff with the actions that a rehearsal found in place of those that only a run can know."""
    found = {step.path: step for step in rehearsal.run.steps}
    return replace(diff, steps=tuple(_with_rehearsed_actions(step, found.get(step.path)) for step in diff.steps))


def _with_rehearsed_actions(step: StepResult, ran: StepResult | None) -> StepResult:
    open_yet = step.state in ("would run", "unknown until run") and (step.planned.stale or not step.planned.actions)
    if ran is None or not open_yet or step.planned.step.steps:
        return step
    if not ran.planned.actions:
        said = f"in the rehearsal: {ran.state}" + (f", {ran.message}" if ran.message else "")
        return replace(step, message=said, hint=ran.hint, code=ran.code)
    planned = replace(step.planned, actions=ran.planned.actions, stale=False)
    message = "" if ran.state == "ok" else f"in the rehearsal: {ran.state}, {ran.message}"
    return replace(step, planned=planned, message=message, hint=ran.hint, code=ran.code, rehearsed=True)
