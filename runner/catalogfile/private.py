"""Make the database of a catalog file anew, without rows, on a private server, with the sizes of the file.

A catalog file comes with a pull request, so what it says is not trusted. Its statements run as a role that is no
superuser, on a server that nothing but this process reaches. planrun itself makes roles and extensions, by name.
The functions that give a table's size are replaced by ones that give that of the file.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from runner import resources, sqlfile
from runner.cancel import Cancel
from runner.catalogfile import ledger
from runner.catalogfile.record import DatabaseFacts, Definition
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import TargetError
from runner.safesql.templates import Templates
from runner.server import embedded, programs
from runner.server.programs import Programs
from runner.sqltext import ident, idents, literal
from runner.words import one_line

_HARMLESS = frozenset(
    {"pg_read_all_data", "pg_write_all_data", "pg_monitor", "pg_read_all_settings", "pg_read_all_stats"}
    | {"pg_stat_scan_tables", "pg_maintain"}
)
"""Roles of PostgreSQL's own that reach neither files nor programs of the server."""

_NEEDLESS = frozenset(
    {
        "EVENT TRIGGER",
        "ACL",
        "DEFAULT ACL",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "PUBLICATION TABLES IN SCHEMA",
        "OPERATOR CLASS",
    }
    | {"OPERATOR FAMILY", "OPERATOR", "ACCESS METHOD", "CAST", "TRANSFORM", "TEXT SEARCH PARSER", "AGGREGATE"}
    | {"TEXT SEARCH TEMPLATE", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "FUNCTION", "PROCEDURE", "SERVER"}
)
"""What may be missing from the private database, if it is named; a table that needs it cannot be made either."""

_LAST = ("ACL", "DEFAULT ACL")
_SESSION = re.compile(r"^(?:SET SESSION AUTHORIZATION|(RESET SESSION AUTHORIZATION))", re.MULTILINE)
_SETTINGS = {"check_function_bodies": "off", "statement_timeout": "30s", "default_table_access_method": "heap"}

_SIZES = sqlfile.read("catalogfile/sizes_of_file.sql")


@dataclass
class PrivateDatabase:
    """A database made of a file. words: how the plan's role reaches it. left: what is not in it, with the reason.

    version: that of the server that it is on, such as "15.18".
    """

    words: Mapping[str, str]
    version: str
    left: list[str] = field(default_factory=list)


@contextlib.contextmanager
def private_database(facts: DatabaseFacts, env: Mapping[str, str], cancel: Cancel) -> Iterator[PrivateDatabase]:
    """Yield the database of a catalog file. Raises TargetError when it cannot be made here."""
    with embedded.private_server(_programs(facts.major)) as server:
        made = _Making(facts, server.words, env, cancel)
        made.all()
        words = {**server.words, "user": facts.user, "dbname": facts.database}
        yield PrivateDatabase(words=words, version=server.programs.version, left=made.left)


def _programs(major: int) -> Programs:
    """Return the server's programs: of the same major where they are here, else of a newer one."""
    same = [one for one in programs.find_installed() if one.major == major and not one.no_server]
    return same[0] if same else programs.server_for(major)


class _Making:
    """Makes one database. left: what could not be made."""

    def __init__(self, facts: DatabaseFacts, server: Mapping[str, str], env: Mapping[str, str], cancel: Cancel) -> None:
        self._facts, self._server, self._cancel = facts, server, cancel
        self._env = {name: value for name, value in env.items() if not name.startswith("PG")}
        self._owner, self._loader = (f"planrun_{word}_{secrets.token_hex(4)}" for word in ("owner", "loader"))
        self._roles = [one.name for one in facts.roles if not one.name.startswith("pg_")]
        self._user = next((one for one in facts.roles if one.name == facts.user), None)
        self.left: list[str] = []

    def all(self) -> None:
        with self._open(self._server["user"], "template1") as conn:
            conn.execute(f"create role {ident(self._owner)} superuser login".encode())
        with self._open(self._owner, "template1") as conn, _explain_failure("its roles and its database"):
            self._make_roles(conn)
            self._make_database(conn)
        with self._open(self._owner, self._facts.database) as conn:
            with _explain_failure("its extensions"):
                schemas = self._make_extensions(conn)
            self._make_objects(conn, schemas)
            with _explain_failure("its sizes"):
                self._finish(conn)

    @contextlib.contextmanager
    def _open(self, user: str, database: str) -> Iterator[psycopg.Connection[dict[str, object]]]:
        connections = Connections({"private": {**self._server, "user": user, "dbname": database}}, self._env)
        with connections.open("private", statement_timeout="0") as conn, cancellable(conn, self._cancel):
            yield conn

    # -------------------------------------------------------------- roles and the database

    def _make_roles(self, conn: psycopg.Connection[dict[str, object]]) -> None:
        """Make the roles of the file; none is a superuser, whatever it is called."""
        conn.execute(f"alter role {ident(self._server['user'])} rename to {ident(f'{self._owner}_0')}".encode())
        for one in self._facts.roles:
            if one.name in self._roles:
                rls = " bypassrls" if one.bypass_rls or one.superuser else ""
                conn.execute(f"create role {ident(one.name)} login{rls}".encode())
        if self._facts.user not in self._roles:
            raise TargetError(f"role {self._facts.user} is not among its roles", code="PR1046")
        there = {str(row["name"]) for row in conn.execute("select rolname as name from pg_catalog.pg_roles")}
        known = {*self._roles, *(_HARMLESS & there)}
        for one in self._facts.roles:
            above = known - {one.name} if one is self._user and one.superuser else set(one.member_of) & known
            if one.name in self._roles and above:
                conn.execute(f"grant {idents(sorted(above))} to {ident(one.name)}".encode())
            if odd := sorted(set(one.member_of) - known):
                self.left.append(f"role {one.name} is a member of {', '.join(odd)}")
        conn.execute(f"create role {ident(self._loader)} login".encode())
        conn.execute(f"grant {idents(self._roles)} to {ident(self._loader)}".encode())

    def _make_database(self, conn: psycopg.Connection[dict[str, object]]) -> None:
        name, encoding = self._facts.database, self._facts.encoding
        locale = "" if encoding == "UTF8" else f" encoding {literal(encoding)} locale 'C'"
        if name == "postgres":
            conn.execute(f"alter database postgres rename to {ident(f'{self._owner}_1')}".encode())
        conn.execute(f"create database {ident(name)} owner {ident(self._loader)} template template0{locale}".encode())

    def _make_extensions(self, conn: psycopg.Connection[dict[str, object]]) -> set[str]:
        """Make the extensions, and return the schemas that were made for them."""
        rows = conn.execute("select name::pg_catalog.text from pg_catalog.pg_available_extensions")
        missing = sorted({one.name for one in self._facts.extensions} - {str(row["name"]) for row in rows})
        if missing:
            raise TargetError(
                f"needs the {'extension' if len(missing) == 1 else 'extensions'} {', '.join(missing)}",
                hint="install it for PLANRUN_PG_BIN's PostgreSQL, or make the diff against the database",
                code="PR1046",
            )
        schemas = {one.schema for one in self._facts.extensions} - {"public", "pg_catalog"}
        for schema in sorted(schemas):
            conn.execute(f"create schema if not exists {ident(schema)} authorization {ident(self._loader)}".encode())
        for one in self._facts.extensions:
            made = f"create extension if not exists {ident(one.name)} with schema {ident(one.schema)} cascade"
            conn.execute(made.encode())
        for row in conn.execute("select fdwname::pg_catalog.text as name from pg_catalog.pg_foreign_data_wrapper"):
            granted = f"grant usage on foreign data wrapper {ident(str(row['name']))} to {ident(self._loader)}"
            conn.execute(granted.encode())
        return schemas

    # -------------------------------------------------------------- what the file defines

    def _make_objects(self, conn: psycopg.Connection[dict[str, object]], schemas: set[str]) -> None:
        roles, database = idents(self._roles), ident(self._facts.database)
        # a new owner needs CREATE where the object is; the rights of the file come last
        with _explain_failure("its roles and its database"):
            conn.execute(f"alter schema public owner to {ident(self._loader)}".encode())
            conn.execute(f"grant create on database {database} to {roles}".encode())
            self._grant_schema(conn, "public")
        for schema in schemas:
            self._grant_schema(conn, schema)
        with self._open(self._loader, self._facts.database) as loader:
            for name, value in _SETTINGS.items():
                loader.execute(f"select pg_catalog.set_config({literal(name)}, {literal(value)}, false)".encode())
            for one in self._facts.definitions:
                if one.kind not in _LAST:
                    self._define(loader, one, schemas)
                if one.kind == "SCHEMA":
                    self._grant_schema(conn, one.name)
            with _explain_failure("its rights"):
                self._revoke(conn)
            for one in self._facts.definitions:
                if one.kind in _LAST:
                    self._define(loader, one, schemas)
            with _explain_failure("planrun's ledger"):
                self._fill_ledger(loader)

    def _fill_ledger(self, conn: psycopg.Connection[dict[str, object]]) -> None:
        if self._facts.ledger:
            for text in ledger.fill(self._facts.ledger, lambda query: conn.execute(query.encode()).fetchall()):
                conn.execute(text.encode())

    def _grant_schema(self, conn: psycopg.Connection[dict[str, object]], schema: str) -> None:
        with contextlib.suppress(psycopg.Error):  # a file may name a schema that it does not make
            conn.execute(f"grant create, usage on schema {ident(schema)} to {idents(self._roles)}".encode())

    def _define(self, conn: psycopg.Connection[dict[str, object]], one: Definition, schemas: set[str]) -> None:
        sql = _SESSION.sub(lambda found: "RESET ROLE" if found[1] else "SET ROLE", one.sql)
        if one.kind == "SCHEMA" and one.name in schemas:
            sql = re.sub(r"^CREATE SCHEMA [^\n]*;\n?", "", sql)
        if not sql.strip():
            return
        self._cancel.check()
        name = one_line(f"{one.schema}.{one.name}" if one.schema else one.name)
        try:
            with translate_errors():
                conn.execute(sql.encode())
        except TargetError as exc:
            if one.kind not in _NEEDLESS or exc.category:
                raise TargetError(
                    f"the private database cannot have {one.kind.lower()} {name}: {exc.message}",
                    hint="make the diff against the database: planrun diff PLAN, without --snapshot",
                    code="PR1046",
                ) from exc
            self.left.append(f"{one.kind.lower()} {name}: {one_line(exc.message)}")

    def _revoke(self, conn: psycopg.Connection[dict[str, object]]) -> None:
        """Take back what was given for the making, but not what an owner has of itself."""
        rows = conn.execute(
            "select nspname::pg_catalog.text as name, pg_catalog.pg_get_userbyid(nspowner)::pg_catalog.text as owner"
            " from pg_catalog.pg_namespace where not pg_catalog.starts_with(nspname::pg_catalog.text, 'pg_')"
        ).fetchall()
        for row in rows:
            if others := [name for name in self._roles if name != row["owner"]]:
                conn.execute(f"revoke create, usage on schema {ident(str(row['name']))} from {idents(others)}".encode())
        conn.execute(f"revoke create on database {ident(self._facts.database)} from {idents(self._roles)}".encode())

    # -------------------------------------------------------------- sizes, and who owns the rest

    def _finish(self, conn: psycopg.Connection[dict[str, object]]) -> None:
        facts = self._facts
        conn.execute("set allow_system_table_mods = on")
        conn.execute(_SIZES.encode())
        text = Templates((resources.SQL,)).sql("catalogfile/estimates.sql.j2", sizes=_columns(facts))
        conn.execute(text.encode())
        if not facts.public_owner:
            conn.execute("drop schema public")
        elif facts.public_owner in (*self._roles, "pg_database_owner"):
            conn.execute(f"alter schema public owner to {ident(facts.public_owner)}".encode())
        owner = facts.owner if facts.owner in self._roles else self._loader
        conn.execute(f"alter database {ident(facts.database)} owner to {ident(owner)}".encode())
        if facts.may_create and owner != facts.user:
            conn.execute(f"grant create on database {ident(facts.database)} to {ident(facts.user)}".encode())
        conn.execute(f"alter role {ident(self._loader)} nologin".encode())
        with self._open(facts.user, facts.database) as own:  # what the file says of a path holds for nobody else
            own.execute(f"select pg_catalog.set_config('search_path', {literal(facts.search_path)}, false)".encode())
            own.execute(f"alter role {ident(facts.user)} set search_path from current".encode())


def _columns(facts: DatabaseFacts) -> dict[str, Sequence[object]]:
    """Return the sizes as one list for each column; -1 stands for rows that are not known."""
    return {
        "schemas": [one.schema for one in facts.sizes],
        "names": [one.name for one in facts.sizes],
        "rows": [-1 if one.rows is None else one.rows for one in facts.sizes],
        "bytes": [one.bytes for one in facts.sizes],
        "table_bytes": [one.table_bytes for one in facts.sizes],
        "main_bytes": [one.main_bytes for one in facts.sizes],
    }


@contextlib.contextmanager
def _explain_failure(what: str) -> Iterator[None]:
    """Say of what the making of the private database failed."""
    try:
        with translate_errors():
            yield
    except TargetError as exc:
        if exc.code == "PR1046" or exc.category:
            raise
        raise TargetError(
            f"the private database cannot have {what}: {exc.message}", hint=exc.hint, code="PR1046"
        ) from exc
