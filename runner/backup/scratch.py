"""A scratch database to restore into: on a private server, or next to other databases on a given server.

Rules (each was tested): a server accepts dumps of pg_dump up to its own major version; the programs must be the
server's.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import conninfo

from runner import sqlfile
from runner.backup.archive import major_of
from runner.backup.manifest import Manifest, Need
from runner.cancel import Cancel
from runner.database.blockers import Watch
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import TargetError
from runner.server import embedded, programs
from runner.server.programs import Programs
from runner.sqltext import ident, literal

_PREFIX = "planrun_scratch_"
_POWERFUL_ROLES = sqlfile.read("pg_restore/too_powerful.sql")


@dataclass(frozen=True)
class Scratch:
    """An empty database, and the programs that fit its server. `connections` has it as the default connection."""

    words: Mapping[str, str]
    env: Mapping[str, str]
    programs: Programs
    private: bool

    @property
    def connections(self) -> Connections:
        return Connections({"scratch": self.words}, self.env)


@contextlib.contextmanager
def database(
    manifest: Manifest,
    *,
    extensions: set[str],
    server: Mapping[str, str] | None,
    env: Mapping[str, str],
    cancel: Cancel,
) -> Iterator[Scratch]:
    """Create a scratch database for a session and drop it at the end.

    extensions: those that the dumps create themselves, in addition to those in the manifest.
    server: libpq parameters of a server where databases may be created, or None for a private one on this machine.
    Raises TargetError if there is no server for it, or if the server lacks what the session needs.
    """
    with contextlib.ExitStack() as stack:
        if server is None:
            made = stack.enter_context(embedded.private_server(programs.server_for(at_least(manifest))))
            words: Mapping[str, str] = made.words
            # the caller's PG* variables are for another server
            env = {name: value for name, value in env.items() if not name.startswith("PG")}
            env["PGHOST"] = words["host"]
        else:
            words = server
        connections = Connections({"server": words}, env)
        if server is not None:
            stack.enter_context(Watch(connections).over("server", cancel))
        with connections.open("server", statement_timeout="0") as conn, cancellable(conn, cancel):
            wanted = _check_server(conn, manifest, extensions)
            name = _PREFIX + secrets.token_hex(6)
            with translate_errors("creating a scratch database"):
                owner = make_owner(conn, name)
                if server is None:
                    _make_roles(conn, manifest.needs)
                owned = f" owner {ident(name)}" if owner else ""
                conn.execute(f"create database {ident(name)}{owned} template template0{_encoding(manifest)}")
            stack.callback(_drop, connections, name, role=bool(owner))
            found = made.programs if server is None else programs.client_for(conn.info.server_version // 10000)
        _make_extensions({**words, "dbname": name}, env, manifest.needs, wanted, owner.get("user", ""))
        yield Scratch({**words, **owner, "dbname": name}, env, found, server is None)


def at_least(manifest: Manifest) -> int:
    return major_of(manifest.pg_dump)


def _encoding(manifest: Manifest) -> str:
    """Return the ENCODING clause if the encoding is not UTF8; only the locale C works with any encoding."""
    encoding = manifest.server.encoding if manifest.server else "UTF8"
    return "" if encoding == "UTF8" else f" encoding {literal(encoding)} locale 'C'"


def make_owner(conn: psycopg.Connection[dict[str, object]], name: str) -> dict[str, str]:
    """Return the libpq parameters of a role that can only fill a scratch database; none if planrun's own role is like
    that.

    Code of the archive runs with its rights: checks, defaults, triggers, and anything that somebody added. So planrun
    connects as this role, because RESET ROLE would undo a SET ROLE. Raises TargetError if it may not create a role.
    """
    rows = conn.execute(_POWERFUL_ROLES).fetchall()
    if rows and rows[0]["super"]:
        secret = secrets.token_urlsafe(24)
        password = conn.pgconn.encrypt_password(secret.encode(), name.encode()).decode()
        conn.execute(f"create role {ident(name)} login password {literal(password)}")
        return {"user": name, "password": secret}
    if rows:
        raise TargetError(
            f"cannot verify here: {rows[0]['role']} {rows[0]['why']}, and code of the archive would run with "
            "its rights",
            hint="connect as a role that may only create databases: create role planrun_proof login createdb "
            "password '...'",
            code="PR0708",
        )
    return {}


def _make_extensions(
    words: Mapping[str, str], env: Mapping[str, str], wanted: Iterable[Need], names: set[str], owner: str
) -> None:
    """Create the extensions that the manifest or a dump names, before anything of the archive runs.

    The connecting role does this, because only a superuser can create an extension that is not trusted.
    """
    into = {need.name: need.ddl for need in wanted if need.kind == "extension"}
    schemas = sorted(need.name for need in wanted if need.kind == "schema" and need.name != "public")
    owned = f" authorization {ident(owner)}" if owner else ""
    connections = Connections({"scratch": words}, env)
    with connections.open("scratch", statement_timeout="0") as conn, translate_errors("creating the extensions"):
        for schema in schemas:
            conn.execute(f"create schema if not exists {ident(schema)}{owned}")
        for name in [*(n for n in into if n in names), *sorted(names - into.keys())]:
            if name != "plpgsql":
                conn.execute(into.get(name) or f"create extension {ident(name)} with schema public cascade")


def _check_server(conn: psycopg.Connection[dict[str, object]], manifest: Manifest, extensions: set[str]) -> set[str]:
    """Return the needed extensions. Raises TargetError if the server does not offer them, or is too old."""
    major = conn.info.server_version // 10000
    if major < at_least(manifest):
        raise TargetError(
            f"cannot verify here: pg_dump {manifest.pg_dump} made the dumps, but the server is PostgreSQL {major}",
            hint="name a newer one: --server postgresql://user@host/postgres",
            code="PR0708",
        )
    with translate_errors():
        rows = conn.execute("select name from pg_catalog.pg_available_extensions").fetchall()
    wanted = extensions | {need.name for need in manifest.needs if need.kind == "extension"}
    if missing := sorted(wanted - {str(row["name"]) for row in rows}):
        raise TargetError(
            f"cannot verify here: needs {', '.join(missing)}",
            hint="name a server that has it: --server postgresql://user@host/postgres",
            code="PR0708",
        )
    return wanted


def _make_roles(conn: psycopg.Connection[dict[str, object]], wanted: Iterable[Need]) -> None:
    """Create the roles that policies name; owners and grants are left out."""
    have = {str(row["rolname"]) for row in conn.execute("select rolname from pg_catalog.pg_roles").fetchall()}
    for name in sorted({need.name for need in wanted if need.kind == "role"} - have):
        conn.execute(f"create role {ident(name)}")


def _drop(connections: Connections, name: str, *, role: bool) -> None:
    with (
        contextlib.suppress(TargetError),
        connections.open("server", statement_timeout="0") as conn,
        translate_errors(),
    ):
        conn.execute(f"drop database if exists {ident(name)} with (force)")
        if role:
            conn.execute(f"drop role if exists {ident(name)}")


def words_of(url: str) -> dict[str, str]:
    """Return the libpq parameters of a URL or conninfo. Raises TargetError, which does not repeat the text."""
    try:
        return {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except psycopg.Error:
        raise TargetError(
            "this is not a connection URL or a list of libpq parameters",
            hint="for example postgresql://user@host/dbname, with the password in ~/.pgpass",
            code="PR0402",
        ) from None
