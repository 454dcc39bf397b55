"""Everything that happens in a run, as data. Other modules store, send or draw the events."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from runner import fates
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
    with its database and where the connection was defined. servers: connection -> the version of PostgreSQL there, of
    those that are open already.
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
    servers: Mapping[str, str] = field(default_factory=dict)


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
    seconds: how long it took; that of a row which is committed with the work ends before the COMMIT.
    """

    path: str
    key: str
    result: Result
    stamped: bool = False
    hidden: bool = False
    seconds: float = 0.0


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
    """A line that a program of a step printed (`unit` is "line"); its other numbers are 0."""

    path: str
    what: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, kw_only=True)
class PhaseProgress:
    """One phase of an action, in bytes. rate: bytes per second of late; None if there is no basis for it yet."""

    phase: str
    done: int
    total: int
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class ActionProgress:
    """How far an action is. Its numbers are estimates, so that neither share nor a phase is complete before its end.

    what: what it does now; phases: those at work. share: of the whole action, 0 to 0.99; left: seconds to its end;
    both are None if there is no basis for them.
    """

    path: str
    key: str
    what: str = ""
    phases: tuple[PhaseProgress, ...] = ()
    share: float | None = None
    left: float | None = None


@dataclass(frozen=True, kw_only=True)
class ServerProgress:
    """What a server says about planrun's connections of a name: a line for each command, and the lock they wait for."""

    connection: str
    lines: tuple[str, ...]
    waits: str = ""


@dataclass(frozen=True, kw_only=True)
class AtWork:
    """The step that is at work, with all that is known of its progress. seconds: since it began.

    progress: of each action; server: as in ServerProgress; waits: the lock that it waits for, and who holds it.
    """

    path: str
    uses: str
    seconds: float
    progress: tuple[ActionProgress, ...] = ()
    server: tuple[str, ...] = ()
    waits: str = ""


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
class WaitEnded:
    """planrun waits for no lock any more. seconds: about how long it did, as it looks at a server every few seconds."""

    connection: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """A step ended. hidden: a secret was removed from the outputs."""

    outcome: Outcome
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class HooksBegan:
    """The steps of a run have ended, and its hooks follow, which change none of this.

    mode: apply or rollback. state: ok, failed, interrupted or paused. step, code, error, hint: of the first step that
    failed. blocks: the names of the blocks that run.
    """

    mode: str
    state: str
    exit_code: int
    seconds: float
    step: str = ""
    code: str = ""
    error: str = ""
    hint: str = ""
    next: str = ""
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something beside the steps of a run went wrong: a hook or a notification. It does not change how the run ends.

    about: what went wrong, such as `on_failure.page`; code: the kind of error.
    """

    about: str
    message: str
    hint: str = ""
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """`state` is ok, failed, paused (--until), declined or interrupted; `next` is the command to type.

    message, code, step: the first error, its kind and the path of its step. way_back: the command that undoes the run,
    "" if the plan has none.
    """

    run: str
    state: str
    exit_code: int
    seconds: float
    message: str = ""
    code: str = ""
    step: str = ""
    next: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    way_back: str = ""


Event = (
    RunBegan | Resuming | StepPlanned | Committing | ActionDone | Progress | ActionProgress | ServerProgress | AtWork
    | Retrying | Waiting | WaitEnded | StepEnded | HooksBegan | Warned | RunEnded
)  # fmt: skip
Emit = Callable[[Event], None]

_NAMES = {
    RunBegan: "run_began",
    Resuming: "resuming",
    StepPlanned: "turn",
    Committing: "committing",
    ActionDone: "action_done",
    Progress: "progress",
    ActionProgress: "action_progress",
    ServerProgress: "server_progress",
    AtWork: "at_work",
    Retrying: "retrying",
    Waiting: "waiting",
    WaitEnded: "wait_ended",
    StepEnded: "outcome",
    HooksBegan: "hooks_began",
    Warned: "warning",
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
            body = planned_step_json(planned) | fates.to_json(planned.preview)
        case StepEnded(outcome=outcome, hidden=hidden):
            body = outcome_json(outcome) | {"hidden": hidden}
        case _:
            body = plain(dataclasses.asdict(event))
    return head | {"event": _NAMES[type(event)]} | body


def at_work_from_json(record: Mapping[str, Any]) -> AtWork | None:
    """Return the AtWork of a record; None if it does not have the shape that this version writes."""
    try:
        return AtWork(
            path=str(record["path"]),
            uses=str(record["uses"]),
            seconds=float(record["seconds"]),
            progress=tuple(map(_action_from_json, record["progress"])),
            server=tuple(map(str, record["server"])),
            waits=str(record["waits"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _action_from_json(data: Mapping[str, Any]) -> ActionProgress:
    phases = (
        PhaseProgress(
            phase=str(one["phase"]),
            done=int(one["done"]),
            total=int(one["total"]),
            rate=None if one["rate"] is None else float(one["rate"]),
        )
        for one in data["phases"]
    )
    share, left = data["share"], data["left"]
    return ActionProgress(
        path=str(data["path"]),
        key=str(data["key"]),
        what=str(data["what"]),
        phases=tuple(phases),
        share=None if share is None else float(share),
        left=None if left is None else float(left),
    )


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
