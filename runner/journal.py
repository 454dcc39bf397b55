"""What a run meant to do and what it did: appended, never edited, read back by resume, status and history.

One record is one event as JSON. A plan that changes nothing in the database keeps its records in a file; else
they are in schema `planrun` of the target, and the row of an SQL action is committed with the action itself.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, get_args

import psycopg

from runner.db import Connections, target_error, translate_errors
from runner.errors import ConnectError, PlanrunError, TargetError, UnknownStateError
from runner.events import ActionDone, Event, Progress, Resuming, RunEnded, StepEnded, StepPlanned, to_json
from runner.model import Action, Outcome, Result, State
from runner.refresh import access, schema_ownership

Record = Mapping[str, Any]


class Journal(Protocol):
    """Where the records of a plan are."""

    place: str

    def write(self, run: str, event: Event) -> None: ...

    def records(self) -> Iterable[Record]: ...

    def close(self) -> None: ...


def record_of(run: str, event: Event) -> dict[str, Any]:
    return {"run": run, **to_json(event)}


def _is_kept(event: Event) -> bool:
    return not isinstance(event, Progress | Resuming) and not (isinstance(event, ActionDone) and event.stamped)


# ------------------------------------------------------------------ in a file


class FileJournal:
    """JSON Lines, each line on disk (fsync) before the work goes on. A line torn by a crash is passed over.

    A file that vanishes or is replaced while a run writes it is an error: a resume would not know what was done.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, str(path)
        self._file: int | None = None  # held open, so that its number on disk is given to no other file

    def write(self, run: str, event: Event) -> None:
        if not _is_kept(event):
            return
        line = json.dumps(record_of(run, event), ensure_ascii=True) + "\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            here, there = os.fstat(self._file), self.path.stat()
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(errno.ENOENT, "it was replaced while this run was at work")
            _write_whole(self._file, line.encode())
            os.fsync(self._file)
        except OSError as exc:
            why = "its folder is a file" if isinstance(exc, FileExistsError) else exc.strerror
            raise TargetError(
                f"cannot write the journal: {why}",
                where=self.place,
                hint="set PLANRUN_STATE_DIR to a folder that can be written, or `journal:` in the plan",
            ) from exc

    def records(self) -> Iterator[Record]:
        if self.path.exists() and not self.path.is_file():  # a pipe or a device has no end
            raise TargetError("cannot read the journal: it is not a file", where=self.place)
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except FileNotFoundError:
            return
        except OSError as exc:
            raise TargetError(f"cannot read the journal: {exc.strerror}", where=self.place) from exc
        for line in lines:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _write_whole(descriptor: int, data: bytes) -> None:
    """Begin on a line of its own: the line before may have been torn by a crash."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        data = b"\n" + data
    while data:
        data = data[os.write(descriptor, data) :]


# ------------------------------------------------------------------ in the target database

# PostgreSQL wants CREATE on the database for `create schema if not exists` also when the schema is there.
_SCHEMA = """
create schema if not exists planrun;
comment on schema planrun is 'planrun: the journal of runs and the record of its own objects';
"""
_TABLE = """
create table if not exists planrun.journal (
    id bigint generated always as identity primary key,
    run text not null,
    at timestamptz not null default pg_catalog.clock_timestamp(),
    event jsonb not null
);
"""
_INSERT = "insert into planrun.journal (run, event) values (%s, %s::pg_catalog.jsonb)"
_SELECT = "select run, event from planrun.journal order by id"
_THERE = """
select pg_catalog.to_regclass('planrun.journal') is not null as there,
       pg_catalog.to_regnamespace('planrun') is not null as schema_there
"""


class DatabaseJournal:
    """Rows of planrun.journal in the target. Made on the first write; reading needs no table."""

    def __init__(self, connections: Connections, name: str) -> None:
        self._connections, self.name = connections, name
        self._conn: psycopg.Connection[dict[str, Any]] | None = None
        self._ready, self._lost = False, False
        self.place = f"schema planrun of {name or 'the target'}"

    def write(self, run: str, event: Event) -> None:
        if not _is_kept(event):
            return
        if self._lost and _may_be_lost(event) and not isinstance(event, RunEnded):
            return  # each would wait for the same server
        try:
            self._again(lambda conn: conn.execute(_INSERT, (run, _jsonb(record_of(run, event)))))
            self._lost = False
        except TargetError:
            # The end of a step that lost its server cannot be written there; resume then finds no end, which is true.
            if not _may_be_lost(event):
                raise
            self._lost = True

    def prepare(self) -> None:
        """Make the schema and the table where they are not there. Raises TargetError when that is not allowed."""
        if not self._ready:
            self._again(_make)
            self._ready = True

    def stamp(self, cursor: psycopg.Cursor[Any], run: str, event: ActionDone) -> None:
        """Write the row of an action in the action's own transaction."""
        cursor.execute(_INSERT, (run, _jsonb(record_of(run, event))))

    def records(self) -> Iterator[Record]:
        def read(conn: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
            _refuse_foreign(conn, looking=True)
            there = conn.execute(_THERE).fetchone()
            return conn.execute(_SELECT).fetchall() if there and there["there"] else []

        for row in self._again(read):
            if isinstance(row["event"], dict):
                yield {**row["event"], "run": row["run"]}

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _again(self, work: Callable[[psycopg.Connection[dict[str, Any]]], Any]) -> Any:
        """Do the work on our connection; open a new one once when it was cut."""
        for attempt in (1, 2):
            try:
                if self._conn is None or self._conn.closed:
                    self._conn = self._connections.open(self.name)
                return work(self._conn)
            except psycopg.Error as exc:
                error = target_error(exc, self.place)
                self.close()
                if error.category != "connection" or attempt == 2:
                    raise error from exc
            except ConnectError:
                self.close()
                raise
        raise AssertionError("the loop returns or raises")


def _refuse_foreign(conn: psycopg.Connection[dict[str, Any]], *, looking: bool = False) -> None:
    schema_ownership.refuse_foreign(lambda text: conn.execute(text).fetchall(), looking=looking)


def _make(conn: psycopg.Connection[dict[str, Any]]) -> None:
    _refuse_foreign(conn)
    there = conn.execute(_THERE).fetchone()
    if there and there["there"]:
        return
    try:
        with conn.transaction():
            if there and there["schema_there"]:
                conn.execute(_TABLE + access.close("planrun", "journal"))
            else:
                conn.execute(_SCHEMA + _TABLE + access.close("planrun"))
    except psycopg.errors.InsufficientPrivilege as exc:
        raise TargetError(
            f"the journal cannot be made in schema planrun: {exc.diag.message_primary}",
            hint=f"let an owner run: create schema planrun authorization {conn.info.user}, "
            f"or: grant create on database {conn.info.dbname} to {conn.info.user}",
            sqlstate="42501",
        ) from exc


def _jsonb(record: Record) -> str:
    """jsonb holds no NUL and no lone surrogate; the output of a program may."""
    return json.dumps(_storable(record), ensure_ascii=False)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def _may_be_lost(event: Event) -> bool:
    outcome = event.outcome if isinstance(event, StepEnded) else None
    if isinstance(event, StepPlanned):
        outcome = event.planned.settled
    return isinstance(event, RunEnded) or (
        outcome is not None and outcome.state in (State.FAILED, State.WARNED, State.SKIPPED)
    )


def commit_status(connections: Connections, name: str, xid: str) -> str:
    """Return what became of a transaction whose COMMIT was not answered: committed, aborted or in progress.

    Source: PostgreSQL docs 9.27.9, pg_xact_status.
    """
    with connections.open(name) as conn, translate_errors():
        row = conn.execute("select pg_catalog.pg_xact_status(%s::pg_catalog.xid8) as status", (xid,)).fetchone()
    return str(row["status"] or "unknown") if row else "unknown"


def settle(run: RunRecord, connections: Connections) -> None:
    """Find out which actions were committed without a word in the journal, and count those as done.

    Leaves in `run.settled` what was found, by path. Raises UnknownStateError when the server cannot tell.
    """
    for (path, key), record in run.committing.items():
        if (path, key) in run.actions:
            continue
        status = settled_status(connections, record["connection"], record["xid"])
        run.settled[path] = status
        if status == "committed":
            run.actions[path, key] = record["result"]
        elif status != "aborted":
            raise UnknownStateError(
                f"nobody knows whether transaction {record['xid']} was committed: the server says {status}",
                where=path,
                hint="look whether the step's work is there, then begin anew: planrun apply",
            )


def settled_status(connections: Connections, name: str, xid: str) -> str:
    """Wait for a transaction that is still being committed; a backend notices a lost client within its commit."""
    for _ in range(50):
        status = commit_status(connections, name, xid)
        if status != "in progress":
            return status
        time.sleep(0.1)
    raise TargetError("the transaction is still in progress on the server")


# ------------------------------------------------------------------ read back


@dataclass
class RunRecord:
    """One run as its records tell it. `state` is `cut off` when no end was written: killed, or still at it.

    `started` is what `${run.started}` gave in its first attempt, and `last` the time of the last record. gone: outcomes
    of steps that were done and of which a resume found that what they made is gone; they are not done again in this
    run, or what later steps did would rest on something else. earlier: planned steps that an earlier attempt left
    undone and this one has not come to. altered: a change of the plan was accepted. reached: paths that this attempt
    has come to. settled: path -> what the server said of a COMMIT whose answer nobody heard.
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

    @property
    def unfinished(self) -> bool:
        return self.state in ("cut off", "failed", "interrupted", "paused")

    def recorded(self) -> dict[str, Outcome]:
        """Return the outcomes that need not be worked for again, by path.

        What only read counts as long as a later step acted on it; else it is read again, as things change.
        """
        every = self.every()
        acted = [number for number, (path, planned) in enumerate(every.items()) if self._has_acted(path, planned)]
        done = set(list(every)[: acted[-1] + 1]) if acted else set()
        return {
            path: Outcome(
                path=path,
                state=State(record["state"]),
                message=record.get("message", ""),
                outputs=record.get("outputs", {}),
                seconds=record.get("seconds", 0.0),
                recorded=True,
            )
            for path, record in (self.outcomes | self.gone).items()
            if path in done and record["state"] in (State.OK, State.WARNED)
        }

    def every(self) -> dict[str, Record]:
        """Return the planned steps of this attempt, and those that an earlier one left undone, by path."""
        return {**self.planned_steps, **self.earlier}

    def _has_acted(self, path: str, planned: Record) -> bool:
        """Say whether a step may have left a trace. A transaction and a backup that fail leave none."""
        names = _action_names(planned.get("actions", []))
        finished = path in self.outcomes and self.outcomes[path]["state"] == State.OK
        finished = finished or any(done == path for done, _ in self.actions)
        return bool(names - (READING if finished else READING | _WHOLE))

    def change(self) -> None:
        """Note that the plan is another now, and forget what people confirmed: it was said of another text."""
        self.altered = True
        asked = {
            path for path, planned in self.every().items() if "confirm" in _action_names(planned.get("actions", []))
        }
        self.planned_steps = {path: planned for path, planned in self.planned_steps.items() if path not in asked}
        self.earlier = {path: planned for path, planned in self.earlier.items() if path not in asked}
        self.outcomes = {path: one for path, one in self.outcomes.items() if path not in asked}
        self.actions = {at: result for at, result in self.actions.items() if at[0] not in asked}

    def not_kept(self) -> list[str]:
        """Return the paths whose results held a secret, so that they are not here, and which cannot be asked again."""
        done, every = self.recorded(), self.every()
        return sorted(
            path for path in self.hidden if path in done or (path in every and self._has_acted(path, every[path]))
        )

    def begun(self) -> list[str]:
        """Return the paths whose intention was written and whose end was not."""
        return [path for path in self.planned_steps if path not in self.outcomes]


READING = {one.__name__.lower() for one in get_args(Action) if one.READS}
_WHOLE = {one.__name__.lower() for one in get_args(Action) if one.WHOLE}
"""Names of actions as records have them."""


def _action_names(actions: Iterable[Record]) -> set[str]:
    found: set[str] = set()
    for action in actions:
        found |= {action["action"]} if action["action"] != "together" else set()
        for branch in action.get("branches", []):
            found |= _action_names(branch)
    return found


def fold(records: Iterable[Record]) -> list[RunRecord]:
    """Make runs of records, oldest first. A record of a shape we do not know is passed over."""
    runs: dict[str, RunRecord] = {}
    for record in records:
        if _is_known(record):
            _take(runs.setdefault(record["run"], RunRecord(record["run"])), record)
    return [run for run in runs.values() if run.attempts]


_NEEDED: Mapping[str, Mapping[str, type]] = {
    "run_began": {"at": str, "mode": str, "plan": str, "digest": str, "host": str, "pid": int, "user": str},
    "turn": {"path": str},
    "committing": {"path": str, "key": str, "connection": str, "xid": str, "result": dict},
    "action_done": {"path": str, "key": str, "result": dict},
    "outcome": {"path": str, "state": str},
    "run_ended": {"at": str, "state": str, "exit_code": int, "message": str, "next": str},
}
_OPTIONAL: Mapping[str, type | tuple[type, ...]] = {
    "uses": str, "because": str, "actions": list, "message": str, "hint": str, "outputs": dict,
    "seconds": (int, float), "started": str, "content": dict, "sets": list, "options": list,
}  # fmt: skip


def _is_known(record: Record) -> bool:
    """Say whether a record has the shape that this version writes, so that all who read it may rely on that."""
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
    """Return a time with its zone, or None when the text is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


def _take(run: RunRecord, record: Record) -> None:
    at = record.get("at")
    run.last = at if isinstance(at, str) and _moment(at) else run.last
    match record["event"]:
        case "run_began":
            run.attempts += 1
            # what the attempt before began or failed is this one's to do: status must not show it as of now
            every = (run.outcomes | run.gone).items()
            run.outcomes = {path: one for path, one in every if one["state"] in (State.OK, State.WARNED)}
            run.gone = {}
            # but not forget it: steps before rest on what was read for it
            run.earlier = {path: planned for path, planned in run.every().items() if path not in run.outcomes}
            run.planned_steps = {path: planned for path, planned in run.planned_steps.items() if path in run.outcomes}
            run.began = run.began or datetime.fromisoformat(record["at"])
            run.ended, run.state, run.exit_code, run.message, run.next = None, "cut off", None, "", ""
            run.reached = set()
            run.mode = run.mode or record["mode"]
            if run.digest not in ("", record["digest"]):  # a changed plan was accepted
                run.change()
            run.plan, run.digest = record["plan"], record["digest"]
            run.host, run.pid, run.user = record["host"], record["pid"], record["user"]
            run.started = run.started or record.get("started", "")
            run.content = {name: text for name, text in record.get("content", {}).items() if isinstance(text, str)}
            run.sets = tuple(one for one in record.get("sets", []) if isinstance(one, str))
            run.options = tuple(one for one in record.get("options", []) if isinstance(one, str))
        case "turn" if record.get("settled"):  # told again by a resume: what was done stays done
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
        case "run_ended":
            run.ended, run.state = datetime.fromisoformat(record["at"]), record["state"]
            run.exit_code, run.message, run.next = record["exit_code"], record["message"], record["next"]


def _forget_what_follows(run: RunRecord) -> None:
    """Of a plan that changed, what is behind a step that is done anew is done anew too: a proof rests on it."""
    run.outcomes = {path: one for path, one in run.outcomes.items() if path in run.reached}
    run.actions = {at: result for at, result in run.actions.items() if at[0] in run.reached}


def last_unfinished(records: Iterable[Record], plan: str) -> RunRecord | None:
    """Return the newest run of the plan, of whatever mode, when it did not come to its end."""
    runs = [run for run in fold(records) if run.plan == plan]
    return runs[-1] if runs and runs[-1].unfinished else None


def state_folder(env: Mapping[str, str]) -> Path:
    """Return where local journals and traces are kept: PLANRUN_STATE_DIR, else XDG_STATE_HOME/planrun."""
    if chosen := env.get("PLANRUN_STATE_DIR"):
        return Path(chosen)
    if base := env.get("XDG_STATE_HOME"):
        return Path(base) / "planrun"
    try:
        return Path.home() / ".local" / "state" / "planrun"
    except RuntimeError:
        raise PlanrunError("no home folder for the journal", hint="set PLANRUN_STATE_DIR") from None
