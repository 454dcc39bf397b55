"""Everything that happens in a run, as data. Who stores, sends or draws it is not the teller's business."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runner.model import UNKNOWN, Action, Outcome, PlannedStep, Result, Together

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunBegan:
    """A drive of a plan begins. `mode` is diff, apply, resume or rollback; `total` counts its top steps.

    `started` is what `${run.started}` gives in it. content: what the plan was made of, text by name, for the journal:
    a resume shows with it what changed. sets: the `--set` words. options: what else was said, `--until` for one, and
    must be said again when this attempt does not come to its end. databases: a line for each connection of the plan,
    which database it leads to and where that was taken from.
    """

    run: str
    plan: str
    file: str
    mode: str
    digest: str
    total: int
    host: str
    pid: int
    user: str
    version: str
    started: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Resuming:
    """What a resume found, told before it does anything.

    state: how the attempt before ended; last: when it was last heard of (RFC 3339); done: paths of steps that are
    not done again; begun: path -> what is known of a step that is; databases: as in RunBegan.
    """

    run: str
    state: str
    last: str
    who: str
    done: tuple[str, ...]
    begun: Mapping[str, str]
    databases: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StepPlanned:
    """A step's time has come; told before it is answered, so that a journal always holds the intention."""

    planned: PlannedStep


@dataclass(frozen=True, kw_only=True)
class ActionDone:
    """One action of a planned step is done.

    stamped: its journal row was committed with its own work. hidden: the result is not whole, as it held a secret.
    """

    path: str
    key: str
    result: Result
    stamped: bool = False
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Committing:
    """A transaction of an action is about to commit where the journal is not; resume asks the server about `xid`.

    `result` is what the action gives when it did.
    """

    path: str
    key: str
    connection: str
    xid: str
    result: Result


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a long action is; `total` is 0 when nobody can know it."""

    path: str
    what: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class Retrying:
    """An attempt failed in a way that is tried again; the next follows after `delay` seconds.

    of: how many attempts the step's `retry` allows; 0 for locks, which are asked for until a deadline.
    """

    path: str
    attempt: int
    of: int
    delay: float
    message: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Something of ours waits for a lock of somebody else, as a diff may do, too. connection: "" for the only one."""

    connection: str
    message: str


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """hidden: the outputs are not whole, as they held a secret."""

    outcome: Outcome
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """`state` is ok, failed, paused (--until), declined or interrupted; `next` is the command to type."""

    run: str
    state: str
    exit_code: int
    seconds: float
    message: str = ""
    next: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


Event = (
    RunBegan | Resuming | StepPlanned | Committing | ActionDone | Progress | Retrying | Waiting | StepEnded | RunEnded
)
Emit = Callable[[Event], None]

_NAMES = {
    RunBegan: "run_began",
    Resuming: "resuming",
    StepPlanned: "turn",
    Committing: "committing",
    ActionDone: "action_done",
    Progress: "progress",
    Retrying: "retrying",
    Waiting: "waiting",
    StepEnded: "outcome",
    RunEnded: "run_ended",
}


def to_json(event: Event, *, at: datetime | None = None) -> dict[str, Any]:
    """Return the event as JSON data: format_version, at (RFC 3339, UTC), event, and its own fields."""
    head = {
        "format_version": FORMAT_VERSION,
        "at": (at or datetime.now(UTC)).isoformat(timespec="milliseconds"),
    }
    match event:
        case StepPlanned(planned=planned):
            body = planned_step_json(planned)
        case StepEnded(outcome=outcome, hidden=hidden):
            body = outcome_json(outcome) | {"hidden": hidden}
        case _:
            body = plain(dataclasses.asdict(event))
    return head | {"event": _NAMES[type(event)]} | body


def planned_step_json(planned: PlannedStep) -> dict[str, Any]:
    """Return what a planned step would do: path, uses, because, stale, settled (there is nothing to do), actions."""
    return {
        "path": planned.path,
        "uses": planned.step.uses,
        "because": planned.because,
        "stale": planned.stale,
        "settled": planned.settled is not None,
        "actions": [action_json(action) for action in planned.actions],
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    found: dict[str, Any] = {
        "path": outcome.path,
        "state": outcome.state.value,
        "message": outcome.message,
        "hint": outcome.hint,
        "outputs": plain(outcome.outputs),
        "seconds": round(outcome.seconds, 3),
        "attempts": outcome.attempts,
        "recorded": outcome.recorded,
    }
    return found | ({"exit_code": error.exit_code} if error else {})


def action_json(action: Action) -> dict[str, Any]:
    """Return an action as JSON data; `action` is its class in lower case."""
    name = {"action": type(action).__name__.lower()}
    if isinstance(action, Together):
        branches = [[action_json(one) for one in branch] for branch in action.branches]
        return name | {"jobs": action.jobs, "branches": branches}
    return {**name, **plain(dataclasses.asdict(action))}


def plain(value: Any) -> Any:
    """Return JSON data; UNKNOWN becomes {"unknown": "until run"}, and a number that JSON has not becomes its text."""
    if value is UNKNOWN:
        return {"unknown": "until run"}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
