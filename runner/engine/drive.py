"""Drivers of a walk: each turn gets its answer, told before and after. Here are the answers that change nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runner.engine.walk import Answer, Walk, acts, failure
from runner.errors import Interrupted, PlanrunError, TargetError
from runner.events import OutcomeTold, Tell, TurnTold
from runner.kinds.base import World
from runner.model import (
    UNKNOWN,
    Action,
    Check,
    Outcome,
    Query,
    Result,
    State,
    Together,
    Turn,
)
from runner.words import typeable


@dataclass
class Drive:
    """What a drive of a walk came to. `error` is the first one that made a step fail."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    failures: dict[str, PlanrunError | None] = field(default_factory=dict)
    paused: bool = False

    @property
    def failed(self) -> bool:
        return bool(self.failures)

    @property
    def error(self) -> PlanrunError | None:
        return next((error for error in self.failures.values() if error), None)

    @property
    def counts(self) -> dict[str, int]:
        return dict(Counter(self.outcomes[path].state.value for path, t in self.turns.items() if t.step.kind))

    @property
    def something_to_do(self) -> bool:
        actions = (action for turn in self.turns.values() for action in turn.actions)
        later = (turn.settled and turn.settled.state is State.WOULD and turn.step.kind for turn in self.turns.values())
        return any(map(acts, actions)) or any(later)


def drive(turns: Walk, answer: Answer, tell: Tell, *, until: str = "", plan: str = "PLAN") -> Drive:
    """Give every turn its answer, telling each before and after; stop after the step `until` or an interruption.

    plan: what stands in hints for PLAN, the file.
    """
    done = Drive()
    turn = next(turns, None)
    while turn is not None:
        tell(TurnTold(turn=turn))
        outcome = turn.settled or answer(turn)
        outcome = replace(outcome, hint=typeable(outcome.hint, plan))
        tell(OutcomeTold(outcome=outcome))
        _note(done, turn, outcome)
        if isinstance(outcome.error, Interrupted):
            break
        if until and turn.path == until:
            done.paused = not done.failed
            break
        turn = _after(turns, outcome)
    turns.close()
    return done


def _note(done: Drive, turn: Turn, outcome: Outcome) -> None:
    done.turns[turn.path], done.outcomes[turn.path] = turn, outcome
    if outcome.state is State.FAILED:
        done.failures[turn.path] = outcome.error
    elif turn.step.steps and outcome.state is State.WARNED:  # the group says that what fails inside only warns
        inside = (f"{turn.path}.", f"{turn.path}[")
        done.failures = {path: error for path, error in done.failures.items() if not path.startswith(inside)}


def _after(turns: Walk, outcome: Outcome) -> Turn | None:
    try:
        return turns.send(outcome)
    except StopIteration:
        return None


def render_answer(turn: Turn) -> Outcome:
    """The answer of render: nothing is done and nothing is asked."""
    given = turn.give([None] * len(turn.actions))
    return Outcome(path=turn.path, state=State.WOULD, outputs=given)


def diff_answer(world: World) -> Answer:
    """The answer of diff: nothing is done, but what only reads is asked, so that later steps can be told."""

    def answer(turn: Turn) -> Outcome:
        began = time.monotonic()
        try:
            results = [None if turn.stale else _read(world, action) for action in turn.actions]
        except PlanrunError as exc:
            return failure(turn.step, turn.path, exc)
        in_way = [row for result in results if result for row in result.get("in_the_way", [])]
        if in_way:
            asked = zip(turn.actions, results, strict=True)
            hint = next(
                (one.hint for one, found in asked if isinstance(one, Check) and found and any(found.values())), ""
            )
            return failure(turn.step, turn.path, TargetError(f"in the way: {'; '.join(in_way)}", hint=hint))
        given = {k: UNKNOWN if turn.stale else v for k, v in turn.give(results).items()}
        seconds = time.monotonic() - began
        return Outcome(path=turn.path, state=State.WOULD, outputs=given, seconds=seconds)

    return answer


def _fails(action: Action, found: Result | None) -> bool:
    return isinstance(action, Check) and bool(found and found["in_the_way"])


def _read(world: World, action: Action) -> Result | None:
    match action:
        case Query():
            detail = action.error_detail
            return {"rows": world.ask(action.text, connection=action.connection, limit=action.limit, detail=detail)}
        case Check():
            if action.theirs:
                rows = world.ask(action.text, connection=action.connection, detail=action.error_detail)
            else:
                rows = world.rows(action.text, connection=action.connection)
            return {"in_the_way": in_the_way(rows)}
        case Together():
            branches = [[_read(world, one) for one in branch] for branch in action.branches]
            return {"branches": branches}
        case _:
            return None


def in_the_way(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the first column of each row of a Check, as text."""
    return [str(next(iter(row.values()), "")) for row in rows]
