"""Drive a walk: answer each planned step, with an event before and after. The answers here change nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runner.engine.walk import Answer, Walk, acts, failure
from runner.errors import Interrupted, NotKnownYet, PlanrunError, TargetError
from runner.events import Emit, StepEnded, StepPlanned
from runner.kinds.base import CatalogReader
from runner.model import (
    UNKNOWN,
    Action,
    Check,
    Outcome,
    PlannedStep,
    Query,
    Result,
    State,
    Together,
)
from runner.words import typeable


@dataclass
class Drive:
    """The result of driving a walk. `error` is the first error that made a step fail."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    planned_steps: dict[str, PlannedStep] = field(default_factory=dict)
    failures: dict[str, PlanrunError | None] = field(default_factory=dict)
    paused: bool = False

    @property
    def has_failed(self) -> bool:
        return bool(self.failures)

    @property
    def error(self) -> PlanrunError | None:
        return next((error for error in self.failures.values() if error), None)

    @property
    def failed_step(self) -> str:
        """The path of the first step that failed, "" if none did."""
        return next(iter(self.failures), "")

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(self.outcomes[path].state.value for path, t in self.planned_steps.items() if t.step.kind))

    @property
    def something_to_do(self) -> bool:
        actions = (action for planned in self.planned_steps.values() for action in planned.actions)
        later = (
            planned.settled and planned.settled.state is State.WOULD and planned.step.kind
            for planned in self.planned_steps.values()
        )
        return any(map(acts, actions)) or any(later)


def drive(planned_steps: Walk, answer: Answer, emit: Emit, *, until: str = "", plan: str = "") -> Drive:
    """Answer every planned step, with an event before and after; stop after step `until` or an interruption.

    plan: the plan's file, for the commands in hints.
    """
    done = Drive()
    planned = next(planned_steps, None)
    while planned is not None:
        emit(StepPlanned(planned=planned))
        outcome = planned.settled or answer(planned)
        outcome = replace(outcome, hint=typeable(outcome.hint, plan))
        emit(StepEnded(outcome=outcome))
        _note(done, planned, outcome)
        if isinstance(outcome.error, Interrupted):
            break
        if until and planned.path == until:
            done.paused = not done.has_failed
            break
        planned = _after(planned_steps, outcome)
    planned_steps.close()
    return done


def _note(done: Drive, planned: PlannedStep, outcome: Outcome) -> None:
    done.planned_steps[planned.path], done.outcomes[planned.path] = planned, outcome
    if outcome.state is State.FAILED:
        done.failures[planned.path] = outcome.error
    elif planned.step.steps and outcome.state is State.WARNED:
        # a failure inside a group with on_error: warn only warns
        inside = (f"{planned.path}.", f"{planned.path}[")
        done.failures = {path: error for path, error in done.failures.items() if not path.startswith(inside)}


def _after(planned_steps: Walk, outcome: Outcome) -> PlannedStep | None:
    try:
        return planned_steps.send(outcome)
    except StopIteration:
        return None


def render_answer(planned: PlannedStep) -> Outcome:
    """The answer of render: perform nothing and query nothing."""
    given = planned.give([None] * len(planned.actions))
    return Outcome(path=planned.path, state=State.WOULD, outputs=given)


def diff_answer(reader: CatalogReader) -> Answer:
    """The answer of diff: perform only actions that read, because later steps depend on their results."""

    def answer(planned: PlannedStep) -> Outcome:
        began = time.monotonic()
        try:
            results = [None if planned.stale else _read(reader, action) for action in planned.actions]
        except NotKnownYet as exc:
            return _unknown(planned, exc)
        except PlanrunError as exc:
            return failure(planned.step, planned.path, exc)
        in_way = [row for result in results if result for row in result.get("in_the_way", [])]
        if in_way:
            asked = zip(planned.actions, results, strict=True)
            hint = next(
                (one.hint for one, found in asked if isinstance(one, Check) and found and any(found.values())), ""
            )
            return failure(
                planned.step, planned.path, TargetError(f"check failed: {'; '.join(in_way)}", hint=hint, code="PR0518")
            )
        given = {k: UNKNOWN if planned.stale else v for k, v in planned.give(results).items()}
        seconds = time.monotonic() - began
        return Outcome(path=planned.path, state=State.WOULD, outputs=given, seconds=seconds)

    return answer


def _unknown(planned: PlannedStep, exc: NotKnownYet) -> Outcome:
    """Return the outcome of a step whose answer the reader cannot know; a check among its actions may then fail."""
    state = State.UNKNOWN if any(isinstance(one, Check) for one in planned.actions) else State.WOULD
    outputs = dict.fromkeys(planned.give([None for _ in planned.actions]), UNKNOWN)
    message = f"what it finds is unknown until run; it needs {exc.message}"
    return Outcome(path=planned.path, state=state, message=message, outputs=outputs)


def _read(reader: CatalogReader, action: Action) -> Result | None:
    match action:
        case Query():
            detail = action.error_detail
            return {"rows": reader.ask(action.text, connection=action.connection, limit=action.limit, detail=detail)}
        case Check():
            if action.theirs:
                rows = reader.ask(action.text, connection=action.connection, detail=action.error_detail)
            else:
                rows = reader.rows(action.text, connection=action.connection)
            return {"in_the_way": in_the_way(rows)}
        case Together():
            branches = [[_read(reader, one) for one in branch] for branch in action.branches]
            return {"branches": branches}
        case _:
            return None


def in_the_way(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the first column of each row of a Check, as text."""
    return [str(next(iter(row.values()), "")) for row in rows]
