"""The journal in schema planrun of the target, where the row of an SQL action is committed with the action itself."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg

from runner import sqlfile
from runner.database.connections import Connections, target_error
from runner.database.deadlines import DeadlineConnection, ResponseDeadline
from runner.errors import ConnectError, TargetError
from runner.events import ActionDone, AtWork, Event, RunEnded, StepEnded, StepPlanned
from runner.journal.records import Record, is_kept, record_of
from runner.model import State
from runner.refresh import planrun_schema
from runner.sqltext import SqlText, literal

_INSERT = "insert into planrun.journal (run, event) values (%s, %s::pg_catalog.jsonb)"
_NOTE = "insert into planrun.journal (run, event) values (%s, %s::pg_catalog.jsonb) returning id"
_NOTE_AGAIN = "update planrun.journal set event = %s::pg_catalog.jsonb where id = %s and run = %s"
_LAST = "select coalesce(max(id), 0) as id from planrun.journal"
_SINCE = sqlfile.read("planrun/since.sql")
_SELECT = "select run, event from planrun.journal order by id"
_OF_RUN = "select run, event from planrun.journal where run = %s order by id"
_NEWEST = sqlfile.read("planrun/newest_runs.sql")
_MILESTONES = sqlfile.read("planrun/milestones.sql")


_PATIENCE = 2.0
"""Seconds for a note."""
_SELDOM = 10.0
"""Seconds between the first two notes of a role that may not write one again; each pause is twice the one before."""
_CANCELED = "57014"
"""If somebody cancels the query that writes the last record, it is repeated: else the run would be shown as cut off."""


class DatabaseJournal:
    """Rows of planrun.journal in the target. The first write creates the table; reading needs no table."""

    def __init__(self, connections: Connections, name: str) -> None:
        self._connections, self.name = connections, name
        self._conn: DeadlineConnection | None = None
        self._ready, self._lost = False, False
        self._one_by_one = threading.Lock()  # actions of branches, and waits for locks, end in threads of their own
        self._noted, self._seldom, self._next = 0, 0.0, 0.0
        self.place = f"schema planrun of {name or 'the target'}"

    def write(self, run: str, event: Event) -> None:
        if not is_kept(event):
            return
        if self._lost and _may_be_lost(event) and not isinstance(event, RunEnded):
            return  # each further record would wait for the same server
        try:
            self._again(lambda conn: conn.execute(_INSERT, (run, _jsonb(record_of(run, event)))))
            self._lost = False
        except TargetError:
            # The end of a step that lost its server cannot be written; a resume then finds no end, which is correct.
            if not _may_be_lost(event):
                raise
            self._lost = True

    def note(self, run: str, at_work: AtWork) -> None:
        """Write the note in its own row, which is written again and again, if the connection has nothing else to do."""
        if not self._one_by_one.acquire(blocking=False):
            return
        try:
            if self._conn is not None and not self._conn.closed:
                with _brief(self._conn):
                    self._write_note(self._conn, run, _jsonb(record_of(run, at_work)))
        finally:
            self._one_by_one.release()

    def _write_note(self, conn: DeadlineConnection, run: str, text: str) -> None:
        if not self._noted:
            row = conn.execute(_NOTE, (run, text)).fetchone()
            self._noted = int(row["id"]) if row else 0
        elif not self._seldom:
            try:
                conn.execute(_NOTE_AGAIN, (text, self._noted, run))
            except psycopg.errors.InsufficientPrivilege:  # a role that may only insert writes a few rows of its own
                self._seldom, self._next = _SELDOM, time.monotonic() + _SELDOM
        elif time.monotonic() >= self._next:
            self._seldom *= 2
            self._next = time.monotonic() + self._seldom
            conn.execute(_NOTE, (run, text))

    def since(self, mark: int) -> tuple[list[Record], int]:
        if not mark:
            rows = self._again(lambda conn: conn.execute(_LAST).fetchall() if _has_journal(conn) else [])
            return list(self.records(brief=True)), int(rows[0]["id"]) if rows else 0

        def read(conn: DeadlineConnection) -> list[dict[str, Any]]:
            return conn.execute(_SINCE, {"mark": mark}).fetchall() if _has_journal(conn) else []

        rows = self._again(read)
        found: list[Record] = [{**row["event"], "run": row["run"]} for row in rows if isinstance(row["event"], dict)]
        return found, max([mark, *(int(row["id"]) for row in rows)])

    def prepare(self) -> None:
        """Create the schema and the table if they do not exist. Raises TargetError if the role may not."""
        if not self._ready:
            self._again(_make)
            self._ready = True

    def stamp(self, run: str, event: ActionDone) -> SqlText:
        """Return the SQL that writes the row of an action in the action's own transaction."""
        values = (literal(run), f"{literal(_jsonb(record_of(run, event)))}::pg_catalog.jsonb")
        return SqlText(f"insert into planrun.journal (run, event) values ({', '.join(values)})")

    def records(self, *, brief: bool = False, run: str = "") -> Iterator[Record]:
        if run:
            return self._read(_OF_RUN, (run,))
        return self._read(_NEWEST if brief else _SELECT)

    def milestones(self) -> Iterator[Record]:
        return self._read(_MILESTONES)

    def _read(self, text: str, values: tuple[str, ...] | None = None) -> Iterator[Record]:
        def read(conn: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
            return conn.execute(text, values).fetchall() if _has_journal(conn) else []

        for row in self._again(read):
            if isinstance(row["event"], dict):
                yield {**row["event"], "run": row["run"]}

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _again(self, work: Callable[[DeadlineConnection], Any]) -> Any:
        """Do the work on the journal's connection; retry once on a new one if it was lost or the query was
        cancelled."""
        with self._one_by_one:
            return self._once_or_twice(work)

    def _once_or_twice(self, work: Callable[[DeadlineConnection], Any]) -> Any:
        for attempt in (1, 2):
            try:
                if self._conn is None or self._conn.closed:
                    self._conn = self._connections.open(self.name)
                return work(self._conn)
            except psycopg.Error as exc:
                error = target_error(exc, self.place)
                self.close()
                if attempt == 2 or (error.category != "connection" and error.sqlstate != _CANCELED):
                    raise error from exc
            except ConnectError:
                self.close()
                raise
        raise AssertionError("the loop returns or raises")


@contextlib.contextmanager
def _brief(conn: DeadlineConnection) -> Iterator[None]:
    """Give the connection up if it does not answer soon; what waits for it opens another one. Nobody else is told that
    the server is silent, as a note must not shorten the patience of the work."""
    before = conn.response_deadline, conn.limit, conn.always
    conn.set_deadline(ResponseDeadline(bool), _PATIENCE, always=True)
    try:
        yield
    finally:
        conn.set_deadline(before[0], before[1], always=before[2])


def _has_journal(conn: psycopg.Connection[dict[str, Any]]) -> bool:
    return bool(_check(conn, looking=True).journal)


def _check(conn: psycopg.Connection[dict[str, Any]], *, looking: bool = False) -> planrun_schema.Present:
    return planrun_schema.check(lambda text: conn.execute(text).fetchall(), looking=looking)


def _make(conn: psycopg.Connection[dict[str, Any]]) -> None:
    text = planrun_schema.create("journal", _check(conn))
    if not text:
        return
    try:
        with conn.transaction():
            conn.execute(text)
    except psycopg.errors.InsufficientPrivilege as exc:
        why = exc.diag.message_primary or str(exc)
        raise planrun_schema.refusal("the journal", why, role=conn.info.user, database=conn.info.dbname) from exc


def _jsonb(record: Record) -> str:
    """Return a value as jsonb can store it: without NUL and lone surrogates, which output of a program may contain."""
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
