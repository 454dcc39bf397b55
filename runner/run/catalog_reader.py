"""Read-only access for the `look` of kinds: every query runs READ ONLY, with a statement timeout."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg

from runner import sqlfile, values
from runner.database.blockers import Watch
from runner.database.connections import Connections, target_error, translate_errors
from runner.database.deadlines import cancellable
from runner.kinds.base import ServerFacts, StatementFacts
from runner.model import Plan
from runner.redact import Redactor
from runner.run.explain import explain
from runner.safesql import cascades, syntax
from runner.safesql.templates import Rendered, Templates
from runner.session_facts import SessionFacts
from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.run.rehearsal_limits import RehearsalLimits
    from runner.safesql.cascades import Root

_SERVER = sqlfile.read("server/identity.sql")


class LiveCatalogReader:
    """A CatalogReader (runner.kinds.base) over real connections and folders."""

    def __init__(
        self,
        plan: Plan,
        connections: Connections,
        templates: Templates,
        *,
        run: str = "",
        emit: Callable[[str, str], object] = lambda name, what: None,
        ended: Callable[[str, float], object] = lambda name, seconds: None,
        limits: RehearsalLimits | None = None,
    ) -> None:
        self._plan, self._connections, self._limits = plan, connections, limits
        self.run, self.stale = run, False
        self._templates, self._watch = templates, Watch(connections, emit=emit, ended=ended)
        self._open: dict[tuple[str, bool], psycopg.Connection[dict[str, Any]]] = {}
        self._servers: dict[str, ServerFacts] = {}

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]:
        with self._reader(connection, own_path=True) as conn:
            return conn.execute(text).fetchall()

    def ask(self, text: str, *, connection: str = "", limit: int = 1000, detail: bool = False) -> list[dict[str, Any]]:
        syntax.refuse(text, use="query")
        with self._reader(connection, own_path=False) as conn:
            return first_rows(conn, text, limit, detail=detail)

    def explain(self, text: str, *, connection: str = "") -> tuple[StatementFacts, ...]:
        if Redactor(self._plan.env).holds(text):  # the statement log of the server would keep the secret
            return ()

        def ask(query: str) -> list[dict[str, Any]]:
            with self._reader(connection, own_path=False) as conn, translate_errors_at(query):
                return conn.execute(query.encode()).fetchall()

        def describe(names: list[str]) -> str:
            return self.sql("sql/targets.sql.j2", names=names)

        def find_dependents(roots: Sequence[Root]) -> str:
            return self.sql("sql/cascades.sql.j2", **cascades.query_values(roots))

        return explain(text, ask, describe, find_dependents, stale=self.stale)

    def sql(self, name: str, /, **given: Any) -> str:
        return self._templates.sql(name, **given)

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        return self._templates.text(template, **values)

    def server(self, connection: str = "") -> ServerFacts:
        name = connection or self._connections.default()
        if name not in self._servers:
            self._servers[name] = ServerFacts(**self.rows(_SERVER, connection=name)[0])
        return self._servers[name]

    def version(self, connection: str = "") -> str:
        """Return the version of a server as it says it: `17.2 (Debian 17.2-1.pgdg120+1)`."""
        return self.connection(connection).info.parameter_status("server_version") or ""

    def pg_dump_for(self, server_major: int) -> str:
        from runner.server import programs

        return programs.pg_dump_for(server_major).tool("pg_dump")

    def tables_of(self, session: str) -> tuple[TableName, ...]:
        from runner.backup import sessions

        return tuple(table.full_name for table in sessions.read(Path(session)).tables)

    def sessions(self, folder: str) -> tuple[SessionFacts, ...]:
        from runner.backup import sessions

        return sessions.facts(Path(folder))

    def file(self, path: str) -> str:
        return self._limits.file(path) if self._limits else path

    @cached_property
    def start_time(self) -> datetime:
        return datetime.now(UTC)

    def others(self, kind: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(given for step, given in values.steps(self._plan) if step.kind == kind)

    def command(self, verb: str, *options: str) -> str:
        return self._plan.command(verb, *options)

    @property
    def plan(self) -> str:
        return self._plan.name

    @property
    def folder(self) -> Path:
        return self._plan.folder

    @property
    def root(self) -> Path:
        return self._plan.root

    @property
    def connections_in_use(self) -> tuple[str, ...]:
        """The names of the connections that were used so far."""
        return tuple(dict.fromkeys(name for name, _ in self._open))

    def close(self) -> None:
        for conn in self._open.values():
            conn.close()
        self._open.clear()

    def connection(self, name: str = "", *, own_path: bool = True) -> psycopg.Connection[dict[str, Any]]:
        """Return the reading connection with an empty search_path, or with that of the role; it stays open."""
        key = (name or self._connections.default(), own_path)
        if key not in self._open or self._open[key].closed:
            limit = f"{self._connections.answer:g}s"
            self._open[key] = self._connections.open(name, read_only=True, own_path=own_path, statement_timeout=limit)
        return self._open[key]

    @contextlib.contextmanager
    def _reader(self, name: str, *, own_path: bool) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        conn = self.connection(name, own_path=own_path)
        with self._watch.over(name), translate_errors(), cancellable(conn, self._connections.cancel), read_only(conn):
            yield conn


@contextlib.contextmanager
def translate_errors_at(text: str, *, detail: bool = False) -> Iterator[None]:
    """Turn psycopg's errors into TargetErrors that point to the line in the template, if there is one."""
    try:
        yield
    except psycopg.Error as exc:
        position = exc.diag.statement_position
        place = text.place(int(position) - 1) if position and isinstance(text, Rendered) else None
        raise target_error(exc, place, detail=detail) from exc


@contextlib.contextmanager
def read_only(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """A READ ONLY transaction that is always rolled back: queries of a diff change nothing, not even a sequence."""
    conn.execute("begin transaction isolation level repeatable read, read only")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("rollback")


def first_rows(
    conn: psycopg.Connection[dict[str, Any]], text: str, limit: int, *, detail: bool = False
) -> list[dict[str, Any]]:
    """Return at most `limit` rows as JSON data; values that are neither text nor JSON numbers become text."""
    with translate_errors_at(text, detail=detail), conn.cursor() as cursor:
        # so that never all rows of a query are in memory
        stream = cast(Generator[dict[str, Any], None, None], cursor.stream(text))
        with contextlib.closing(stream):
            rows = list(itertools.islice(stream, limit))
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite() and value.as_tuple().exponent == 0:
        return int(value)  # sum(bigint) is numeric, and `when: q.row.total > 0` must not compare with a text
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return str(value)
