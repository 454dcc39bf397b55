"""One exported snapshot of a database, the locks that keep it complete, and connections that share it.

Locks: ACCESS SHARE on every table from before the snapshot to the end, as pg_dump does it. Without them a TRUNCATE
between the snapshot and a table's dump would give an empty file and no error.
Sources: PostgreSQL docs 9.28.5 (snapshot synchronization), 13.3.1 (lock modes), 13.6 (TRUNCATE and MVCC).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import psycopg
from psycopg import sql

from runner import sqlfile
from runner.backup.manifest import Server
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.table_name import TableName

Conn = psycopg.Connection[dict[str, Any]]
Facts = Mapping[TableName, Mapping[str, Any]]
"""The row of the facts query for each table, by schema and name."""

# A role's own statement_timeout must not end a long count; row_security off makes PostgreSQL refuse where it
# would hide rows, instead of counting only the visible ones.
_SETTINGS = {"statement_timeout": "0", "row_security": "off"}
_TRIES = 5

_SERVER = sqlfile.read("server/version.sql")


def client_encoding(server: str) -> str:
    """Return the encoding in which to read a database's rows: UTF8, or unchanged if the database has no encoding."""
    return "SQL_ASCII" if server == "SQL_ASCII" else "UTF8"


class Snapshot:
    """The snapshot while it is held, for use in a `with`.

    name: the connection's name. query: describes the existing tables (Backup.facts). `id` is what pg_dump takes
    as --snapshot, `facts` the result of the query in the snapshot. Raises ConnectError or TargetError.
    """

    def __init__(self, connections: Connections, name: str, query: str, cancel: Cancel) -> None:
        self._connections, self._name, self._query, self._cancel = connections, name, query, cancel
        self._stack = contextlib.ExitStack()
        self.id, self.facts = "", dict[TableName, Mapping[str, Any]]()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._leader = stack.enter_context(self._open())
            self._hold()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def _open(self) -> Iterator[Conn]:
        conn = self._connections.open(self._name, read_only=True, own_path=True, **_SETTINGS)
        try:
            yield conn
        finally:
            conn.close()

    def _hold(self) -> None:
        """Lock the existing tables, then export the snapshot."""
        with translate_errors("taking the snapshot"), cancellable(self._leader, self._cancel):
            for left in reversed(range(_TRIES)):
                try:
                    self._begin([TableName.of(row) for row in self._rows(self._query)])
                    break
                except psycopg.errors.UndefinedTable:  # a table was dropped since the query: query again
                    self._leader.execute("rollback")
                    if not left:
                        raise
            self.id = str(self._rows("select pg_catalog.pg_export_snapshot() as id")[0]["id"])
            self.facts = {TableName.of(row): row for row in self._rows(self._query)}

    def _begin(self, names: Sequence[TableName]) -> None:
        self._leader.execute("begin isolation level repeatable read, read only")
        if names:
            tables = sql.SQL(", ").join(sql.Identifier(*name) for name in names)
            self._leader.execute(sql.SQL("lock table {} in access share mode").format(tables))

    def _rows(self, text: str) -> list[dict[str, Any]]:
        return self._leader.execute(text).fetchall() if text else []

    def ask(self, text: str, doing: str) -> list[dict[str, Any]]:
        """Return the rows of a query in the snapshot; an error contains `doing`."""
        with translate_errors(doing), cancellable(self._leader, self._cancel):
            return self._rows(text)

    @contextlib.contextmanager
    def open_reader(self) -> Iterator[Conn]:
        """Open one more connection that sees the same snapshot."""
        with self._open() as conn:
            with translate_errors("joining the snapshot"), cancellable(conn, self._cancel):
                conn.execute("begin isolation level repeatable read, read only")
                conn.execute(sql.SQL("set transaction snapshot {}").format(self.id))
            yield conn

    @property
    def encoding(self) -> str:
        return client_encoding(self._leader.info.parameter_status("server_encoding") or "")

    @property
    def major(self) -> int:
        return self._leader.info.server_version // 10000

    def server(self) -> Server:
        row = self.ask(_SERVER, "reading the server's version")[0]
        clock = self.ask("select pg_catalog.clock_timestamp() as now", "reading the server's clock")[0]["now"]
        ahead = round((datetime.now(UTC) - clock).total_seconds(), 3)
        return Server(**row, system_identifier=self._system_identifier(), clock_ahead=ahead)

    def _system_identifier(self) -> str | None:
        """Return the system identifier, which distinguishes clusters; "" if this role may not read it."""
        with translate_errors("reading the server's version"), cancellable(self._leader, self._cancel):
            try:
                with self._leader.transaction():
                    row = self._rows("select system_identifier::text as id from pg_catalog.pg_control_system()")
            except psycopg.errors.InsufficientPrivilege:
                return None
        return str(row[0]["id"])
