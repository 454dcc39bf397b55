"""What all parts of a load share: what it is about, its session on the target, and how statements are run there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from runner import resources
from runner.cancel import Cancel
from runner.connection import cancellable
from runner.db import Connections, translate_errors
from runner.model import Load
from runner.refresh.ledger import Refresh
from runner.safesql.templates import Templates
from runner.words import shown_name

Conn = psycopg.Connection[dict[str, Any]]
Progress = Callable[[int, int, str, str], None]
Row = Mapping[str, Any]

SETTINGS = {
    "statement_timeout": "0",
    "check_function_bodies": "off",
    "client_min_messages": "error",
    "xmloption": "content",
    "default_tablespace": "",
}
"""Of the sessions that build. Notices amid a COPY would be taken for errors."""

BATCH = 100
"""Statements in one transaction: each table locks several objects, and the server's lock table has 6400 places."""


class Work:
    """One load on an empty shadow schema. conn: the session that makes everything but rows.

    `_facts` are the rows of source.sql.j2: each table and partition in the snapshot, as they were created.
    """

    def __init__(
        self, action: Load, connections: Connections, conn: Conn, refresh: Refresh, cancel: Cancel, progress: Progress
    ) -> None:
        self._action, self._connections, self._conn = action, connections, conn
        self._refresh, self._cancel, self._progress = refresh, cancel, progress
        self._schema, self._shadow = action.schema, refresh.shadow
        self._templates = Templates((resources.SQL,))
        self._facts: Sequence[Row] = ()
        self._empty = {table.name for table in action.tables if table.empty}
        self._lock, self._finished, self._total = threading.Lock(), 0, 0

    def _sql(self, name: str, **values: Any) -> str:
        return self._templates.sql(f"shadow_load/{name}.sql.j2", **values)

    def _ask(self, text: str) -> list[dict[str, Any]]:
        with translate_errors(), cancellable(self._conn, self._cancel):
            return self._conn.execute(text).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with cancellable(self._conn, self._cancel), self._conn.transaction():
            yield

    def _run(self, conn: Conn, texts: Iterable[str], what: str) -> None:
        """Run statements, some in each transaction."""
        every = list(texts)
        for start in range(0, len(every), BATCH):
            with translate_errors(what), cancellable(conn, self._cancel), conn.transaction():
                for text in every[start : start + BATCH]:
                    conn.execute(text)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Conn]:
        # what a crash takes away is loaded again; the last COMMIT of the load waits for the disk, and so for all before
        settings = {**SETTINGS, "synchronous_commit": "off"}
        with contextlib.closing(
            self._connections.open(self._action.connection, read_only=False, own_path=True, **settings)
        ) as conn:
            yield conn

    def _done(self, what: str) -> None:
        with self._lock:
            self._finished += 1
            done = self._finished
        self._progress(done, self._total, "tables", what)

    def _shown(self, row: Row) -> str:
        return shown_name(self._schema, row["name"])
