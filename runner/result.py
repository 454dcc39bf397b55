"""The result of a diff, an apply or a rollback, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from runner.engine import Drive
from runner.errors import PlanrunError
from runner.events import Warned
from runner.impact import StepImpact
from runner.model import Outcome, PlannedStep
from runner.record import dataclass


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """A planned step and how it ended; `state` is one of ok, warned, failed, skipped, would run, unknown until run.

    protection: in a diff, the guards that make it run only after what protects the things it removes; "" if none do.
    impact: in a diff or a rendering, what it would lock and rewrite; None if nothing.
    rehearsed: in a diff, its actions are those of a rehearsal, as only a run can know them.
    """

    path: str
    state: str
    message: str
    hint: str
    code: str
    outputs: Mapping[str, Any]
    seconds: float
    planned: PlannedStep = field(repr=False)
    protection: str = ""
    impact: StepImpact | None = None
    rehearsed: bool = False


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a diff, an apply or a rollback.

    state: ok, failed, paused, interrupted; or, if nothing was started, declined (the answer was no) or refused (a step
    cannot succeed, whatever earlier steps do). exit_code: that of the command line. next: the command
    to type now, if any. error: the first error of a step, or None. of: what a diff shows, apply or rollback.
    databases: a line for each connection of the plan, with its database and where the connection was defined.
    way_back: the command that undoes a run of the plan, "" without a `rollback:`. file: that of the plan; sets: the
    `--set` options that it was loaded with.
    surroundings: in a diff, what the servers have that strong locks and rewrites would meet, a line each. notes: what
    the reader of a diff must know of where it was made. hooks: the steps of the hooks that ran, or that could run; they
    change neither `state` nor `exit_code`. warnings: what went wrong beside the steps: hooks and notifications.
    told: in a diff, who would be told of the run, a line each.
    """

    run: str
    plan: str
    mode: str
    state: str
    exit_code: int
    seconds: float
    steps: tuple[StepResult, ...]
    counts: Mapping[str, int]
    something_to_do: bool
    error: PlanrunError | None = None
    next: str = ""
    of: str = "apply"
    databases: tuple[str, ...] = ()
    way_back: str = ""
    file: str = ""
    sets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    surroundings: tuple[str, ...] = ()
    hooks: tuple[StepResult, ...] = ()
    warnings: tuple[Warned, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def __getitem__(self, path: str) -> StepResult:
        """Return the result of a step by its path, such as `backup.dump`. Raises KeyError."""
        for step in self.steps:
            if step.path == path:
                return step
        raise KeyError(path)


def step_results(done: Drive) -> tuple[StepResult, ...]:
    """Return the results of a drive in the order of its planned steps."""
    return tuple(step_result(planned, done.outcomes[path]) for path, planned in done.planned_steps.items())


def step_result(planned: PlannedStep, outcome: Outcome) -> StepResult:
    return StepResult(
        path=planned.path,
        state=outcome.state.value,
        message=outcome.message,
        hint=outcome.hint,
        code=outcome.code,
        outputs=outcome.outputs,
        seconds=outcome.seconds,
        planned=planned,
    )
