"""The context that all phases of a load share: its task, its connection to the target, and how statements run there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from runner import resources
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.model import Load
from runner.progress import Report, Tally
from runner.refresh.ledger import Refresh
from runner.safesql.templates import Templates
from runner.sqltext import join_statements
from runner.words import plural, shown_name

Conn = psycopg.Connection[dict[str, Any]]
Row = Mapping[str, Any]

SETTINGS = {
    "statement_timeout": "0",
    "check_function_bodies": "off",
    "client_min_messages": "error",
    "xmloption": "content",
    "default_tablespace": "",
}
"""Settings of the connections that build. A notice during a COPY would be taken for an error."""

BATCH = 100
"""Statements in one transaction: each table locks several objects, and the server's lock table has 6400 places."""


_NAMED = 5
_SMALL = 1 << 20
_IN_GROUP = 50
"""Bytes of a small table, how many small ones are one task, and how many of these an error names."""


def groups(rows: Sequence[Row], jobs: int) -> list[Sequence[Row]]:
    """Return tables as tasks for workers: each large one by itself, and small ones together. Their order stays.

    One command for many tables saves what each command costs: VACUUM ends with a look at every relation of the
    database, and with 4,000 tables these took 10 s.
    """
    large = [row for row in rows if not is_small(row)]
    small = [row for row in rows if is_small(row)]
    size = max(1, min(_IN_GROUP, -(-len(small) // jobs)))
    return [*([row] for row in large), *(small[at : at + size] for at in range(0, len(small), size))]


def is_small(row: Row) -> bool:
    return int(row["bytes"]) <= _SMALL


class LoadContext:
    """One load into an empty shadow schema.

    conn: the connection to the target that creates everything but rows. empty: names of tables that get no rows.
    """

    def __init__(
        self, action: Load, connections: Connections, conn: Conn, refresh: Refresh, cancel: Cancel, progress: Report
    ) -> None:
        self.action, self.connections, self.conn = action, connections, conn
        self.refresh, self.cancel, self.progress = refresh, cancel, progress
        self.schema, self.shadow = action.schema, refresh.shadow
        self.empty = frozenset(table.name for table in action.tables if table.empty)
        self.templates = Templates((resources.SQL,))

    # -------------------------------------------------------------- SQL

    def sql(self, name: str, /, **values: Any) -> str:
        """Return the SQL of sql/shadow_load/<name>.sql.j2."""
        return self.templates.sql(f"shadow_load/{name}.sql.j2", **values)

    def ask(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of one of planrun's queries to the target. Raises TargetError."""
        with translate_errors(), cancellable(self.conn, self.cancel):
            return self.conn.execute(text).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with cancellable(self.conn, self.cancel), self.conn.transaction():
            yield

    def run(self, texts: Iterable[str], what: str) -> None:
        """Run statements on the load's own connection, as `run_on` does."""
        self.run_on(self.conn, texts, what)

    def run_on(self, conn: Conn, texts: Iterable[str], what: str) -> None:
        """Run statements, BATCH of them in each transaction. Raises TargetError; `what` says in it what they were for.

        The statements of one message are one transaction (PostgreSQL docs 55.2.2.1): with 1,000 tables and a message
        for each statement, a load waited for the server 33,000 times.
        """
        every = list(texts)
        for start in range(0, len(every), BATCH):
            with translate_errors(what), cancellable(conn, self.cancel):
                conn.execute(join_statements(every[start : start + BATCH]))

    @contextlib.contextmanager
    def open(self) -> Iterator[Conn]:
        """Open one more connection to the target, for a worker."""
        # a load that a crash interrupts begins again; its last COMMIT waits for the disk, and so for all earlier ones
        settings = {**SETTINGS, "synchronous_commit": "off"}
        with contextlib.closing(
            self.connections.open(self.action.connection, read_only=False, own_path=True, **settings)
        ) as conn:
            yield conn

    # -------------------------------------------------------------- progress

    def say(self, what: str) -> None:
        """Report which phase begins."""
        self.progress(0, 0, "", f"{what} of {plural(len(self.action.tables), 'table')}")

    def tally(self, phase: str, sizes: Mapping[Any, int]) -> Tally:
        """Report how many bytes a phase has, and return what counts them."""
        return Tally(phase, sizes, self.progress)

    def display_name(self, row: Row) -> str:
        return shown_name(self.schema, row["name"])

    def display_names(self, rows: Sequence[Row]) -> str:
        """Return the names of a few tables, the number of many."""
        return ", ".join(map(self.display_name, rows)) if len(rows) <= _NAMED else plural(len(rows), "small table")
