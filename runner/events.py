"""Everything that happens in a run, as data. Other modules store, send or draw the events."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from runner.model import UNKNOWN, Action, Outcome, PlannedStep, Result, Together
from runner.record import dataclass
from runner.words import typeable

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunBegan:
    """A run, a diff or a rollback begins. `mode` is diff, apply, resume or rollback; `total` counts its top steps.

    `started` is the value of `${run.started}`. content: what the plan consists of, text by name, for the journal; a
    resume compares it to show what changed. sets: the `--set` options. options: other options, such as `--until`, which
    the next command must repeat if this attempt does not finish. databases: a line for each connection of the plan,
    with its database and where the connection was defined.
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
    """What a resume found, sent before it does anything.

    state: how the previous attempt ended; last: the time of its last event (RFC 3339); done: paths of finished steps,
    which are not repeated; begun: path -> what is known of an unfinished step; databases: as in RunBegan.
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
    """A step is next. Sent before the step is answered, so that a journal always holds the intention."""

    planned: PlannedStep


@dataclass(frozen=True, kw_only=True)
class ActionDone:
    """One action of a planned step is done.

    stamped: its journal row was committed together with its work. hidden: a secret was removed from the result.
    """

    path: str
    key: str
    result: Result
    stamped: bool = False
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class Committing:
    """A transaction of an action is about to commit in another database than the journal's.

    A resume asks the server about `xid`. `result` is the result of the action if the transaction committed.
    """

    path: str
    key: str
    connection: str
    xid: str
    result: Result


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a long action; `total` is 0 if it is unknown."""

    path: str
    what: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class Retrying:
    """An attempt failed and will be repeated; the next one follows after `delay` seconds.

    of: how many attempts the step's `retry` allows; 0 for locks, which are requested until a deadline.
    """

    path: str
    attempt: int
    of: int
    delay: float
    message: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """planrun waits for a lock that another connection holds, possibly in a diff.

    connection: its name, "" if the plan has only one.
    """

    connection: str
    message: str


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """A step ended. hidden: a secret was removed from the outputs."""

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
    """Return a planned step as JSON data: path, uses, because, stale, settled (there is nothing to do), actions.

    acknowledge: why it may remove what nothing protects; only if the plan says so.
    """
    return {
        "path": planned.path,
        "uses": planned.step.uses,
        "because": planned.because,
        "stale": planned.stale,
        "settled": planned.settled is not None,
        "actions": [action_json(action) for action in planned.actions],
        **({"acknowledge": planned.step.acknowledge} if planned.step.acknowledge else {}),
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    found: dict[str, Any] = {
        "path": outcome.path,
        "state": outcome.state.value,
        "message": outcome.message,
        "hint": outcome.hint,
        "code": outcome.code,
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
    data = plain(dataclasses.asdict(action))
    return {**name, **data, **({"hint": typeable(data["hint"])} if "hint" in data else {})}


def plain(value: Any) -> Any:
    """Return JSON data; UNKNOWN becomes {"unknown": "until run"}, and a number that JSON lacks becomes its text."""
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
