"""Copy rows from live tables into their shadow tables: one snapshot for all of them, several tables at once.

The snapshot is taken after the triggers of the change capture were committed, so they record what it does not see.
Nothing is locked but the table that is being copied: a TRUNCATE in between is recorded as well.
Source: PostgreSQL docs 9.28.5 (snapshot synchronization), COPY (FREEZE).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from runner import sqlfile
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.database.worker_pool import WorkerPool
from runner.model import Copied, Refill
from runner.progress import Report, Tally
from runner.shadow.relay import relay
from runner.table_name import TableName

Conn = psycopg.Connection[dict[str, Any]]
Ends = tuple[Conn, Conn]

_SIZES = sqlfile.read("refresh/sizes.sql")
_BEGIN = "begin isolation level repeatable read, read only"


def refill(action: Refill, connections: Connections, *, cancel: Cancel, progress: Report) -> dict[str, Any]:
    """Copy the rows; return {"tables": [{"schema", "name", "rows"}], "count", "rows", "measures"}.

    Raises TargetError; tables that were not copied completely then contain what they contained before.
    """
    with cancel.child() as own, _open_session(action, connections) as leader:
        sizes = _sizes(leader, action)
        with translate_errors("taking the snapshot"), cancellable(leader, own):
            leader.execute(_BEGIN)
            row = leader.execute("select pg_catalog.pg_export_snapshot() as id").fetchone()
        work = _Work(action, connections, str(row["id"] if row else ""), own, progress, sizes)
        WorkerPool(action.jobs, work.ends, own).work_off([partial(work.copy, table) for table in action.tables])
    tables = [{"schema": one.schema, "name": one.name, "rows": work.rows[one]} for one in action.tables]
    measures = [{**table, **work.measures[one]} for table, one in zip(tables, action.tables, strict=True)]
    return {"tables": tables, "count": len(tables), "rows": sum(work.rows.values()), "measures": measures}


def _sizes(conn: Conn, action: Refill) -> Mapping[TableName, Mapping[str, Any]]:
    """Return size and estimated rows of each table; nothing if that cannot be read, because only the progress needs
    it."""
    with contextlib.suppress(psycopg.Error):
        names = [one.full_name for one in action.tables]
        found = conn.execute(_SIZES, ([schema for schema, _ in names], [name for _, name in names]))
        return {TableName.of(one): one for one in found.fetchall()}
    return {}


@contextlib.contextmanager
def _open_session(action: Refill, connections: Connections) -> Iterator[Conn]:
    """Open a connection that fails if rows would be hidden; a notice during a COPY would be taken for an error."""
    with contextlib.closing(
        connections.open(action.connection, statement_timeout="0", row_security="off", client_min_messages="error")
    ) as conn:
        yield conn


class _Work:
    """What the workers of one Refill share. rows: how many were copied, by table; measures: bytes and seconds."""

    def __init__(
        self,
        action: Refill,
        connections: Connections,
        snapshot: str,
        cancel: Cancel,
        progress: Report,
        sizes: Mapping[TableName, Mapping[str, Any]],
    ) -> None:
        self._action, self._connections, self._snapshot, self._cancel = action, connections, snapshot, cancel
        self._sizes = sizes
        self._tally = Tally("rows", {name: int(one["bytes"]) for name, one in sizes.items()}, progress)
        self._lock = threading.Lock()
        self.rows: dict[Copied, int] = {}
        self.measures: dict[Copied, dict[str, float]] = {}
        self._copied: dict[Copied, int] = {}

    @contextlib.contextmanager
    def ends(self) -> Iterator[Ends]:
        """Open the two connections of a worker: one that reads and one that writes."""
        with (
            _open_session(self._action, self._connections) as source,
            _open_session(self._action, self._connections) as target,
        ):
            yield source, target

    def copy(self, table: Copied, ends: Ends) -> None:
        began, self._copied[table] = time.monotonic(), 0
        rows = self._copy_rows(table, *ends)
        with self._lock:
            self.rows[table] = rows
            self.measures[table] = {"bytes": self._copied[table], "seconds": round(time.monotonic() - began, 3)}
        self._tally.complete([table.full_name], str(table.full_name))

    def _copy_rows(self, table: Copied, source: Conn, target: Conn) -> int:
        """Copy one table in a transaction of its own; the reading transaction and its lock on the table end with it."""
        with (
            translate_errors(str(table.full_name)),
            self._join_snapshot(source),
            cancellable(target, self._cancel),
            target.transaction(),
        ):
            target.execute(table.first)
            rows = relay(source, target, table.out, table.into, self._cancel, partial(self._take, table))
            target.execute(table.after.replace("{rows}", str(rows)).replace("{xid}", _xid(target)))
        return rows

    def _take(self, table: Copied, piece: Any, rows: int) -> None:
        self._copied[table] += len(piece)
        name = table.full_name
        estimate = int(self._sizes[name]["rows"]) if name in self._sizes else 0
        self._tally.add(name, f"rows of {name}", len(piece), rows, estimate)

    @contextlib.contextmanager
    def _join_snapshot(self, conn: Conn) -> Iterator[None]:
        conn.execute(_BEGIN)
        try:
            conn.execute(sql.SQL("set transaction snapshot {}").format(self._snapshot))
            yield
        finally:
            if not conn.closed:
                conn.execute("rollback")


def _xid(conn: Conn) -> str:
    row = conn.execute("select pg_catalog.pg_current_xact_id()::pg_catalog.text as xid").fetchone()
    return str(row["xid"]) if row else ""
