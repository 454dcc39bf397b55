"""Problems of this machine or database, as data; each finding has the command to type."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from runner import __version__, files, sqlfile, values
from runner.backup import catalog
from runner.database.connections import Connections, translate_errors
from runner.database.run_lock import refuse_transaction_pooling
from runner.errors import ConnectError, PlanrunError
from runner.journal.file import state_folder
from runner.kinds import KINDS
from runner.kinds.base import build
from runner.model import Plan, Step
from runner.planfile import templates_of
from runner.refresh import schema_ownership
from runner.run.catalog_reader import LiveCatalogReader
from runner.server import programs
from runner.words import plural, size

LOW_DISK = 1 << 30
"""Bytes free under which a folder is worth a warning."""

_FACTS = sqlfile.read("server/facts.sql")


@dataclass(frozen=True)
class Finding:
    """level: ok, warn or fail. hint: the command to type, or nothing."""

    level: str
    about: str
    message: str
    hint: str = ""
    exit_code: int = 0


def examine(plan: Plan | None, env: Mapping[str, str]) -> list[Finding]:
    """Return the findings about this machine, then about each database that the plan (or the environment) names."""
    found = list(_machine(env))
    connections = Connections(plan.connections if plan else {}, env)
    for name in (plan.connections if plan else {}) or [""]:
        found += _database(connections, name)
    found += _tables(plan, connections) if plan and not any(one.level == "fail" for one in found) else []
    found += [finding for path in (catalog.folders(plan) if plan else ()) for finding in _disk(path)]
    return found


def _tables(plan: Plan, connections: Connections) -> Iterator[Finding]:
    """Yield a failure for each connection whose role cannot read tables of the plan, with the missing GRANTs."""
    reader = LiveCatalogReader(plan, connections, templates_of(plan.root))
    try:
        named = {one for step, given in values.steps(plan) for one in _read_by(plan, step, given, reader)}
        for connection in sorted({connection for connection, _, _ in named}):
            about = f"connection {connection}" if connection else "connection"
            pairs = sorted((schema, name) for each, schema, name in named if each == connection)
            rows = reader.rows(
                reader.sql("catalog/readable.sql.j2", schemas=[s for s, _ in pairs], names=[n for _, n in pairs]),
                connection=connection,
            )
            if rows:
                message = f"the plan's tables cannot be read: {'; '.join(row['problem'] for row in rows)}"
                yield Finding("fail", about, message, "\n".join(dict.fromkeys(row["remedy"] for row in rows)), 1)
            elif pairs:
                yield Finding("ok", about, f"{plural(len(pairs), 'table')} of the plan can be read")
    finally:
        reader.close()


def _read_by(plan: Plan, step: Step, given: Mapping[str, Any], reader: LiveCatalogReader) -> list[tuple[str, str, str]]:
    """Return the tables that a step reads; none if they are known only in a run, or if the diff reports the problem."""
    kind = KINDS[step.kind]
    reads = getattr(kind, "reads", None)
    if reads is None or values.has_unknown(given):
        return []
    try:
        return list(reads(build(kind.Params, given, plan.folder), reader))
    except PlanrunError:
        return []


_NEWEST = 18
"""The newest major version that the tests run with. `doctor` warns of a newer one; nothing refuses it."""


def _machine(env: Mapping[str, str]) -> Iterator[Finding]:
    yield Finding("ok", "planrun", f"{__version__} on Python {platform.python_version()}, {platform.system()}")
    try:
        for one in programs.find_installed():
            yield Finding("ok", "programs", str(one))
        programs.pg_dump_for(0)
        yield from _attempt(
            "scratch server", lambda: f"{programs.server_for()} (for demo and verify --level 3)", "warn"
        )
    except PlanrunError as exc:
        yield Finding("fail", "programs", exc.message, exc.hint, 1)
    yield from _attempt("local journal", lambda: str(state_folder(env)), "fail")


def _attempt(about: str, work: Callable[[], str], level: str) -> Iterator[Finding]:
    try:
        yield Finding("ok", about, work())
    except PlanrunError as exc:
        yield Finding(level, about, exc.message, exc.hint, 1 if level == "fail" else 0)


def _database(connections: Connections, name: str) -> Iterator[Finding]:
    about = f"connection {name}" if name else "connection"
    try:
        conn = connections.open(name, read_only=True)
    except ConnectError as exc:
        hint = (
            "" if "planrun doctor" in exc.hint and "," not in exc.hint else exc.hint.split(", then: planrun doctor")[0]
        )
        yield Finding("fail", about, exc.message, hint, exc.exit_code)
        return
    with conn:
        try:
            yield from _facts(conn, about)
            refuse_transaction_pooling(connections, name, conn)
            yield Finding("ok", about, "each connection keeps its server process (no transaction pooling)")
        except PlanrunError as exc:
            yield Finding("fail", about, exc.message, exc.hint, exc.exit_code)


def _facts(conn: psycopg.Connection[dict[str, Any]], about: str) -> Iterator[Finding]:
    with translate_errors(about):
        facts = conn.execute(_FACTS).fetchone()
    assert facts is not None
    host = conn.info.host or "local"
    yield Finding(
        "ok", about, f"PostgreSQL {facts['version']} on {host}, database {facts['database']}, role {facts['role']}"
    )
    if (major := facts["version_num"] // 10000) > _NEWEST:
        message = f"PostgreSQL {major} is newer than the versions that planrun is tested with (14 to {_NEWEST})"
        yield Finding("warn", about, message, "try the plan on a copy of the database first")
    if not host.startswith("/") and not facts["encrypted"]:
        yield Finding("warn", about, "the connection is not encrypted", "add sslmode: verify-full to the connection")
    yield from _check_pg_dump(facts["version_num"] // 10000, about)
    if facts["unreadable"]:
        yield Finding(
            "warn",
            about,
            f"{facts['unreadable']} tables cannot be read by {facts['role']}",
            f"grant pg_read_all_data to {facts['role']}",
        )
    if not facts["may_create"] and not facts["has_journal"] and not facts["standby"]:
        message = "no right to create schema planrun: only plans that change nothing in the database can run"
        yield Finding("warn", about, message, f"grant create on database {facts['database']} to {facts['role']}")
    if facts["superuser"]:
        message = f"{facts['role']} is a superuser: code that table owners wrote in checks, index expressions and views"
        hint = "connect as a role that has only the rights that docs/security.md lists"
        yield Finding("warn", about, f"{message} runs with all rights when planrun builds tables", hint)
    if facts["has_journal"]:
        yield from _attempt(f"{about}, schema planrun", lambda: _schema_owner_problem(conn), "fail")
    if facts["prepared"]:
        yield Finding(
            "warn",
            about,
            f"{facts['prepared']} prepared transactions hold locks and snapshots",
            "select * from pg_prepared_xacts",
        )
    if facts["long_transactions"]:
        message = f"{facts['long_transactions']} transactions are older than an hour: they delay a swap and vacuum"
        yield Finding(
            "warn", about, message, "select pid, usename, xact_start, query from pg_stat_activity order by xact_start"
        )


def _schema_owner_problem(conn: psycopg.Connection[dict[str, Any]]) -> str:
    with translate_errors():
        schema_ownership.refuse_foreign(lambda text: conn.execute(text).fetchall())
    return "no code of other roles would run there"


def _check_pg_dump(major: int, about: str) -> Iterator[Finding]:
    yield from _attempt(f"{about}, pg_dump", lambda: str(programs.pg_dump_for(major)), "fail")


def _disk(path: Path) -> Iterator[Finding]:
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    try:
        free = files.free_bytes(there)
    except PlanrunError as exc:
        yield Finding("fail", "disk", exc.message, exc.hint, 1)
        return
    level = "warn" if free < LOW_DISK else "ok"
    yield Finding(level, "disk", f"{size(free)} free at {path}", f"df -h {there}" if level == "warn" else "")
