"""The databases of cases: on private servers, filled from fixtures, with the faults that only a server can cause."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import psycopg

from runner import tools
from runner.cancel import Cancel
from runner.cases.case import Case, Fixture, Text
from runner.database.connections import Connections, target_error, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import TargetError
from runner.server import embedded, programs
from runner.server.embedded import Server
from runner.server.programs import Programs, find_installed
from runner.sqltext import ident, literals
from runner.table_name import TableName

Words = Mapping[str, str]

_GONE = 10.0
"""Seconds within which a server must have noticed that a killed planrun is gone."""


class Servers:
    """A private server for each major version that cases need. They are started when first used, and end with `close`.

    default: the major of cases that name none, 0 for the oldest here. cases: all that will come, so that a fixture that
    several of them share is made once.
    """

    def __init__(self, cases: Iterable[Case], default: int = 0) -> None:
        self._default, self._lock = default, threading.Lock()
        self._uses = Counter((fixture, case.role) for case in cases for fixture in case.databases.values())
        self._hosts: dict[int, Host] = {}
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        self._stack.close()

    def host(self, case: Case) -> Host:
        """Return the server for a case. Raises TargetError if its version is not on this machine."""
        major = case.postgres or self._default
        with self._lock:
            if major not in self._hosts:
                server = self._stack.enter_context(embedded.private_server(_programs(major)))
                self._hosts[major] = Host(server, self._uses)
            return self._hosts[major]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of the servers that were needed."""
        return tuple(host.server.programs.version for _, host in sorted(self._hosts.items()))


def _programs(major: int) -> Programs:
    if not major:
        return programs.server_for()
    found = [one for one in find_installed() if one.major == major and not one.no_server]
    if not found:
        here = ", ".join(str(one.major) for one in find_installed() if not one.no_server) or "none"
        raise TargetError(
            f"PostgreSQL {major} is not on this machine (here: {here})",
            hint="set PLANRUN_PG_TREES to a folder that holds it, or choose another one: --postgres",
            code="PR0902",
        )
    return found[0]


class Host:
    """One private server. Its databases are copies of a template where several cases share a fixture."""

    def __init__(self, server: Server, uses: Mapping[tuple[Fixture, str], int]) -> None:
        self.server, self._uses = server, uses
        self._admin = Connections({"server": server.words}, {})
        self._lock, self._roles, self._number = threading.Lock(), set[str](), 0
        self._templates: dict[tuple[Fixture, str], str] = {}
        self._making: dict[tuple[Fixture, str], threading.Lock] = {}

    @property
    def programs(self) -> str:
        """The folder of the programs that fit the server: psql, pg_dump and others."""
        return str(self.server.programs.bin)

    def folder(self, number: int) -> Path:
        """Return the folder of a case. It goes with the server, also when planrun is killed."""
        return self.server.log.parent / "cases" / str(number)

    def make_roles(self, names: Iterable[str]) -> None:
        """Create roles, which all databases of the server share."""
        with self._lock:
            for name in names:
                if name not in self._roles:
                    self._run(f"create role {ident(name)} login")
                    self._roles.add(name)

    def create(self, name: str, fixture: Fixture, role: str, cancel: Cancel) -> Words:
        """Create a database with what a fixture says, and return how to reach it as `role`. Raises TargetError."""
        if self._uses.get((fixture, role), 0) > 1 and not fixture.is_empty:
            self._copy(self._template(fixture, role, cancel), name, role)
        else:
            self._copy("template0", name, role)
            self._fill(name, fixture, role, cancel)
        return {**self.server.words, "dbname": name, **({"user": role} if role else {})}

    def _template(self, fixture: Fixture, role: str, cancel: Cancel) -> str:
        with self._lock:
            making = self._making.setdefault((fixture, role), threading.Lock())
        with making:
            if (fixture, role) not in self._templates:
                name = f"fixture_{self._next()}"
                self._copy("template0", name, role)
                self._fill(name, fixture, role, cancel)
                self._templates[fixture, role] = name
            return self._templates[fixture, role]

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _copy(self, template: str, name: str, role: str) -> None:
        owner = f" owner {ident(role)}" if role else ""
        self._run(f"create database {ident(name)}{owner} template {ident(template)}")

    def drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._run(f"drop database if exists {ident(name)} with (force)")

    def _run(self, sql: str) -> None:
        with self._admin.open("server", statement_timeout="0") as conn, translate_errors():
            conn.execute(sql.encode())

    # -------------------------------------------------------------- fixtures

    def _fill(self, name: str, fixture: Fixture, role: str, cancel: Cancel) -> None:
        words = {**self.server.words, "dbname": name}
        if fixture.like is not None:
            self._load(words, fixture.like, cancel)
        if not fixture.texts:
            return
        with Connections({"db": words}, {}).open("db", own_path=False, statement_timeout="0") as conn:
            if role:
                conn.execute(f"set role {ident(role)}".encode())
            for text in fixture.texts:
                run_text(conn, text, cancel)

    def _load(self, words: Words, dump: Path, cancel: Cancel) -> None:
        """Load what pg_dump wrote, without owners and grants if it is an archive."""
        program, options = "pg_restore", ["--exit-on-error", "--no-owner", "--no-acl"]
        if not dump.is_dir() and not _is_archive(dump):
            program, options = "psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1"]
        into = [] if program == "psql" else [str(dump)]
        source = [dump.read_bytes()] if program == "psql" else []
        with tools.access(words, self.server.programs.env) as access:
            argv = [self.server.programs.tool(program), *options, f"--dbname={access.conninfo}", *into]
            env = {**tools.environment(os.environ), **access.env, **self.server.programs.env}
            try:
                tools.call(argv, env=env, cancel=cancel, source=source)
            except TargetError as exc:
                message = f"{os.path.relpath(dump)} does not load: {exc.message}"
                raise TargetError(message, hint=_load_hint(exc.message), code="PR1065") from exc

    # -------------------------------------------------------------- faults

    @contextlib.contextmanager
    def cut(self, names: Iterable[str]) -> Iterator[None]:
        """Cut all connections of databases, and let none in until the block ends."""
        chosen = list(names)
        try:
            for name in chosen:
                self._run(f"alter database {ident(name)} with allow_connections false")
            self._end_sessions(chosen)
            yield
        finally:
            for name in chosen:
                self._run(f"alter database {ident(name)} with allow_connections true")

    def _end_sessions(self, names: list[str]) -> None:
        where = f"datname in ({literals(names)}) and backend_type = 'client backend'"
        self._run(f"select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where {where}")
        self.wait_for_end(names)

    @contextlib.contextmanager
    def lock(self, name: str, table: TableName, hold: float | None) -> Iterator[None]:
        """Hold an ACCESS EXCLUSIVE lock on a table until the block ends, or for `hold` seconds. Raises TargetError."""
        full = TableName(table.schema or "public", table.name)
        words = {**self.server.words, "dbname": name}
        with Connections({"db": words}, {}, application="somebody").open("db") as conn:
            with translate_errors(f"lock of {full}"):
                conn.execute("begin")
                conn.execute(f"lock table {full.sql} in access exclusive mode".encode())
            timer = threading.Timer(hold or 0, conn.close)
            if hold:
                timer.start()
            try:
                yield
            finally:
                timer.cancel()

    def wait_for_end(self, names: Iterable[str]) -> None:
        """Wait until no session is in these databases: the server notices a moment after its client was killed."""
        query = f"select count(*) as n from pg_catalog.pg_stat_activity where datname in ({literals(list(names))})"
        end = time.monotonic() + _GONE
        with self._admin.open("server") as conn, translate_errors():
            while (row := conn.execute(query.encode()).fetchone()) and row["n"]:
                if time.monotonic() > end:
                    raise TargetError("sessions of a killed planrun are still there", code="PR1065")
                time.sleep(0.01)


_SHARED = "all cases of a server share its roles: name it in `roles:`, which creates it once"


def as_superuser(words: Words) -> Words:
    """Return how to reach a database as the role that sees everything, also what row security hides."""
    return {**words, "user": "postgres"}


def run_text(conn: psycopg.Connection[dict[str, object]], text: Text, cancel: Cancel) -> None:
    """Run SQL of a case. Raises TargetError with the place of the error in its file."""
    try:
        with cancellable(conn, cancel):
            conn.execute(text.sql.encode())
    except psycopg.Error as exc:
        position = exc.diag.statement_position
        error = target_error(exc, text.mark(int(position) - 1 if position else 0))
        hint = _SHARED if exc.sqlstate == "42710" and " role " in f" {error.message}" else error.hint
        raise TargetError(error.message, where=error.where, hint=hint, code="PR1065") from exc


def _load_hint(message: str) -> str:
    """Return what to do about a dump that does not load, as far as the message of psql or pg_restore tells."""
    if 'role "' in message and "does not exist" in message:
        return "name the role in `roles:` of the case"
    if "unsupported version" in message or "unrecognized configuration parameter" in message:
        return "a newer PostgreSQL made the dump: take its version, --postgres MAJOR or `postgres:` in the case"
    return ""


def _is_archive(dump: Path) -> bool:
    """Say whether a file is a custom or tar archive of pg_dump."""
    with dump.open("rb") as file:
        head = file.read(265)
    return head.startswith(b"PGDMP") or head[257:262] == b"ustar"
