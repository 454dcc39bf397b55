"""The runs in the records: what was done, what was begun, how each ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

from runner.events import AtWork, at_work_from_json
from runner.journal.records import Record
from runner.model import HOOKS, Action, Outcome, Result, State


@dataclass
class RunRecord:
    """One run according to its records. `state` is `cut off` if no end was written: it was killed, or is still at work.

    `started` is the value of `${run.started}` in its first attempt, `last` the time of the last record. gone: outcomes
    of finished steps for which a resume found that their objects are gone; this run does not repeat them, because
    later steps depended on the old objects. earlier: planned steps that an earlier attempt left
    unfinished and this one has not reached. altered: a change of the plan was accepted. reached: paths that this
    attempt has reached. settled: path -> the server's result for a COMMIT whose answer was lost. brief: the work of its
    steps is not kept. at_work: the newest note of this attempt about the step at work. hooks: what the hooks of the
    last attempt did, None if they have not begun; verdict: how the steps had ended then, as the event hooks_began
    says. warnings: those of the last attempt.
    """

    id: str
    plan: str = ""
    mode: str = ""
    digest: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    state: str = "cut off"
    exit_code: int | None = None
    message: str = ""
    next: str = ""
    host: str = ""
    pid: int = 0
    user: str = ""
    attempts: int = 0
    started: str = ""
    last: str = ""
    content: Mapping[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    altered: bool = False
    reached: set[str] = field(default_factory=set)
    planned_steps: dict[str, Record] = field(default_factory=dict)
    earlier: dict[str, Record] = field(default_factory=dict)
    outcomes: dict[str, Record] = field(default_factory=dict)
    actions: dict[tuple[str, str], Result] = field(default_factory=dict)
    gone: dict[str, Record] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    committing: dict[tuple[str, str], Record] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    brief: bool = False
    at_work: Record | None = None
    hooks: RunRecord | None = None
    verdict: Record = field(default_factory=dict)
    warnings: list[Record] = field(default_factory=list)

    @property
    def is_unfinished(self) -> bool:
        return self.state in ("cut off", "failed", "interrupted", "paused")

    @property
    def is_cut_off_in_hooks(self) -> bool:
        """Whether its steps have ended, and no end of its hooks was written."""
        return self.state == "cut off" and self.hooks is not None

    def recorded_outcomes(self) -> dict[str, Outcome]:
        """Return the outcomes of steps that need not be repeated, by path.

        A step that only reads counts if a later step acted on its result; else it reads again, because data changes.
        """
        every = self.every()
        acted = [number for number, (path, planned) in enumerate(every.items()) if self._has_acted(path, planned)]
        done = set(list(every)[: acted[-1] + 1]) if acted else set()
        return {
            path: _outcome(path, record)
            for path, record in (self.outcomes | self.gone).items()
            if path in done and record["state"] in (State.OK, State.WARNED)
        }

    def outcomes_of_attempt(self) -> dict[str, Outcome]:
        """Return how each step of the last attempt ended, by path, also those that failed or were skipped."""
        return {path: _outcome(path, record) for path, record in self.outcomes.items()}

    def every(self) -> dict[str, Record]:
        """Return the planned steps of this attempt, and those that an earlier one left unfinished, by path."""
        return {**self.planned_steps, **self.earlier}

    def _has_acted(self, path: str, planned: Record) -> bool:
        """Return whether a step may have changed something. A transaction or a backup that fails changes nothing."""
        names = _action_names(planned.get("actions", []))
        finished = path in self.outcomes and self.outcomes[path]["state"] == State.OK
        finished = finished or any(done == path for done, _ in self.actions)
        return bool(names - (READING if finished else READING | _WHOLE))

    def change(self) -> None:
        """Mark the plan as changed, and forget what people confirmed, because they confirmed another text."""
        self.altered = True
        asked = {
            path for path, planned in self.every().items() if "confirm" in _action_names(planned.get("actions", []))
        }
        self.planned_steps = {path: planned for path, planned in self.planned_steps.items() if path not in asked}
        self.earlier = {path: planned for path, planned in self.earlier.items() if path not in asked}
        self.outcomes = {path: one for path, one in self.outcomes.items() if path not in asked}
        self.actions = {at: result for at, result in self.actions.items() if at[0] not in asked}

    def not_kept(self) -> list[str]:
        """Return the paths whose results contained a secret and so are not recorded, and which cannot be read again."""
        done, every = self.recorded_outcomes(), self.every()
        return sorted(
            path for path in self.hidden if path in done or (path in every and self._has_acted(path, every[path]))
        )

    def progress(self) -> AtWork | None:
        """Return how far the step at work is, as it was noted last; None if no step is, or nothing was noted."""
        if self.state != "cut off" or self.at_work is None or self.at_work["path"] not in self.paths_at_work():
            return None
        return at_work_from_json(self.at_work)

    def paths_at_work(self) -> list[str]:
        """Return the paths whose intention was written and whose end was not."""
        return [path for path in self.planned_steps if path not in self.outcomes]


READING = {one.__name__.lower() for one in get_args(Action) if one.READS}
_WHOLE = {one.__name__.lower() for one in get_args(Action) if one.WHOLE}
"""The names of actions in records."""


def _action_names(actions: Iterable[Record]) -> set[str]:
    found: set[str] = set()
    for action in actions:
        found |= {action["action"]} if action["action"] != "together" else set()
        for branch in action.get("branches", []):
            found |= _action_names(branch)
    return found


def _outcome(path: str, record: Record) -> Outcome:
    return Outcome(
        path=path,
        state=State(record["state"]),
        message=record.get("message", ""),
        outputs=record.get("outputs", {}),
        seconds=record.get("seconds", 0.0),
        recorded=True,
    )


def fold(records: Iterable[Record], *, brief: bool = False) -> list[RunRecord]:
    """Turn records into runs, oldest first. A record of an unknown shape is skipped.

    brief: keep the work of the steps only of the newest run of each plan, so that memory does not grow with the
    journal.
    """
    runs: dict[str, RunRecord] = {}
    newest: dict[str, RunRecord] = {}
    for record in records:
        if not is_known(record):
            continue
        run = runs.setdefault(record["run"], RunRecord(record["run"]))
        if brief and record["event"] == "run_began" and not run.attempts:
            if before := newest.get(record["plan"]):
                _forget_steps(before)
            newest[record["plan"]] = run
        if not run.brief or record["event"] in ("run_began", "run_ended"):
            _take(run, record)
    return [run for run in runs.values() if run.attempts]


def _forget_steps(run: RunRecord) -> None:
    """Forget what the steps of a run did."""
    for kept in (run.planned_steps, run.earlier, run.outcomes, run.actions, run.gone, run.committing, run.settled):
        kept.clear()
    run.reached.clear()
    run.hidden.clear()
    run.content, run.brief, run.hooks, run.verdict = {}, True, None, {}


_NEEDED: Mapping[str, Mapping[str, type]] = {
    "run_began": {"at": str, "mode": str, "plan": str, "digest": str, "host": str, "pid": int, "user": str},
    "turn": {"path": str},
    "committing": {"path": str, "key": str, "connection": str, "xid": str, "result": dict},
    "action_done": {"path": str, "key": str, "result": dict},
    "outcome": {"path": str, "state": str},
    "waiting": {"connection": str, "message": str},
    "wait_ended": {"connection": str},
    "retrying": {"path": str, "message": str},
    "at_work": {"at": str, "path": str, "uses": str},
    "hooks_began": {"mode": str, "state": str, "exit_code": int, "error": str, "next": str},
    "warning": {"about": str, "message": str},
    "run_ended": {"at": str, "state": str, "exit_code": int, "message": str, "next": str},
}
_OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "uses": str, "because": str, "actions": list, "message": str, "hint": str, "code": str, "outputs": dict,
    "seconds": (int, float), "started": str, "content": dict, "sets": list, "options": list,
    "acknowledge": str, "step": str, "blocks": list,
}  # fmt: skip


def is_known(record: Record) -> bool:
    """Return whether a record has the shape that this version writes, so that readers can rely on it."""
    event = record.get("event")
    needed = _NEEDED.get(event) if isinstance(event, str) else None
    if needed is None or not isinstance(record.get("run"), str):
        return False
    if not all(isinstance(record.get(name), kind) for name, kind in needed.items()):
        return False
    if not all(isinstance(record[name], kind) for name, kind in _OPTIONAL.items() if name in record):
        return False
    if not all(map(_is_action, record.get("actions", ()))):
        return False
    in_time = "at" not in needed or _moment(record["at"]) is not None
    return in_time and (event != "outcome" or record["state"] in set(State))


def _is_action(action: Any) -> bool:
    if not isinstance(action, dict) or not isinstance(action.get("action"), str):
        return False
    branches = action.get("branches", [])
    return isinstance(branches, list) and all(isinstance(b, list) and all(map(_is_action, b)) for b in branches)


def _moment(text: str) -> datetime | None:
    """Return a time with its zone, or None if the text is not a time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _take(run: RunRecord, record: Record) -> None:
    at = record.get("at")
    if isinstance(at, str) and _moment(at):
        run.last = max(run.last, at) if run.last else at  # a note is written again in its old place
    if run.hooks is not None and _is_of_hook(record):
        _take(run.hooks, record)
        return
    match record["event"]:
        case "run_began":
            run.attempts += 1
            # this attempt repeats what the previous one began or failed: status must not show it as current
            every = (run.outcomes | run.gone).items()
            run.outcomes = {path: one for path, one in every if one["state"] in (State.OK, State.WARNED)}
            run.gone = {}
            # but it is kept: earlier steps depend on what was read for it
            run.earlier = {path: planned for path, planned in run.every().items() if path not in run.outcomes}
            run.planned_steps = {path: planned for path, planned in run.planned_steps.items() if path in run.outcomes}
            run.began = run.began or datetime.fromisoformat(record["at"])
            run.ended, run.state, run.exit_code, run.message, run.next = None, "cut off", None, "", ""
            run.reached, run.at_work = set(), None
            run.hooks, run.verdict, run.warnings = None, {}, []
            run.mode = run.mode or record["mode"]
            if run.digest not in ("", record["digest"]):  # a changed plan was accepted
                run.change()
            run.plan, run.digest = record["plan"], record["digest"]
            run.host, run.pid, run.user = record["host"], record["pid"], record["user"]
            run.started = run.started or record.get("started", "")
            run.content = {name: text for name, text in record.get("content", {}).items() if isinstance(text, str)}
            run.sets = tuple(one for one in record.get("sets", []) if isinstance(one, str))
            run.options = tuple(one for one in record.get("options", []) if isinstance(one, str))
        case "at_work":
            run.at_work = record
        case "turn" if record.get("settled"):  # recorded again by a resume: what was done stays done
            run.planned_steps.setdefault(record["path"], record)
            run.earlier.pop(record["path"], None)
            run.reached.add(record["path"])
        case "turn":
            run.planned_steps[record["path"]] = record
            run.earlier.pop(record["path"], None)
            run.outcomes.pop(record["path"], None)
            run.hidden.discard(record["path"])
            run.reached.add(record["path"])
            if run.altered and _action_names(record.get("actions", [])) - READING:
                _forget_what_follows(run)
        case "committing":
            run.committing[record["path"], record["key"]] = record
        case "action_done" if record.get("hidden"):
            run.hidden.add(record["path"])
        case "action_done":
            run.actions[record["path"], record["key"]] = record["result"]
        case "outcome":
            old = run.outcomes.get(record["path"])
            if old and old["state"] in (State.OK, State.WARNED) and record["state"] == State.FAILED:
                run.gone[record["path"]] = old
            run.outcomes[record["path"]] = record
            if record.get("hidden"):
                run.hidden.add(record["path"])
        case "hooks_began":
            run.verdict = record
            run.hooks = run.hooks or RunRecord(run.id)  # those that a resume finishes are the same
            if run.mode != "apply":  # only an apply has a resume, which would finish them
                run.state, run.exit_code = record["state"], record["exit_code"]
                run.message, run.next = record["error"], record["next"]
        case "warning":
            run.warnings.append(record)
        case "run_ended":
            run.ended, run.state = datetime.fromisoformat(record["at"]), record["state"]
            run.exit_code, run.message, run.next = record["exit_code"], record["message"], record["next"]


def _is_of_hook(record: Record) -> bool:
    return str(record.get("path", "")).startswith(_HOOK_PATHS)


_HOOK_PATHS = tuple(f"{name}." for name in HOOKS)


def _forget_what_follows(run: RunRecord) -> None:
    """In a changed plan, forget the steps after a repeated step: for example, a proof depends on it."""
    run.outcomes = {path: one for path, one in run.outcomes.items() if path in run.reached}
    run.actions = {at: result for at, result in run.actions.items() if at[0] in run.reached}


def last_unfinished(records: Iterable[Record], plan: str) -> RunRecord | None:
    """Return the newest run of the plan, of any mode, if it did not finish; else None."""
    runs = [run for run in fold(records, brief=True) if run.plan == plan]
    return runs[-1] if runs and runs[-1].is_unfinished else None
