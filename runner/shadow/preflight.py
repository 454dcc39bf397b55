"""Check before a load changes anything: two different databases, enough disk space, free names.

Sources: PostgreSQL docs 9.28.11 (pg_control_system), 20.2 (data_directory).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg

from runner import resources
from runner.database.connections import translate_errors
from runner.errors import TargetError
from runner.refresh.ledger import Refresh, marker
from runner.safesql.templates import Templates
from runner.words import shown_name, size

Conn = psycopg.Connection[dict[str, Any]]


def refuse_same(source: Conn, target: Conn) -> None:
    """Raise TargetError if both connections lead to one database or its standby, or if the target is a standby."""
    here, there = _who(target), _who(source)
    if here["standby"]:
        raise TargetError("the target is a standby: it takes no writes", hint="connect to the primary", code="PR0413")
    same_cluster = here["cluster"] == there["cluster"] if here["cluster"] and there["cluster"] else None
    if same_cluster is None:
        same_cluster = here["started"] == there["started"]
    if same_cluster and here["oid"] == there["oid"]:
        raise TargetError(
            f"source and target are the same database: {shown_name('', str(here['name']))}",
            hint="correct `connections:`, or PLANRUN_SOURCE_URL and PLANRUN_TARGET_URL",
            code="PR0414",
        )


def _who(conn: Conn) -> dict[str, Any]:
    with translate_errors():
        row = conn.execute(Templates((resources.SQL,)).sql("shadow_load/who.sql.j2")).fetchall()[0]
        try:
            found = conn.execute("select system_identifier::text as id from pg_catalog.pg_control_system()").fetchall()
        except psycopg.errors.InsufficientPrivilege:
            found = []
    return {**row, "cluster": found[0]["id"] if found else None}


def refuse_without_room(target: Conn, needed: int) -> None:
    """Raise TargetError when the server's disk is one of this machine and has less than `needed` bytes left."""
    free = _free(target)
    if free is not None and free < needed:
        raise TargetError(
            f"the target's disk has {size(free)} left, but the new tables need about {size(needed)}",
            hint="free space there, or load fewer tables",
            code="PR0805",
        )


def _free(target: Conn) -> int | None:
    """Return the free bytes on the disk of the server's data, None if this machine cannot see that disk."""
    if not (target.info.host or "").startswith("/"):
        return None
    with translate_errors():
        rows = target.execute(
            "select setting from pg_catalog.pg_settings where name = 'data_directory' and setting <> ''"
        ).fetchall()
    try:
        found = os.statvfs(Path(rows[0]["setting"])) if rows else None
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found else None


def refuse_taken(target: Conn, shadow: str, known: Refresh | None) -> None:
    """Raise TargetError if a schema has the name of the shadow schema and no refresh of planrun created it."""
    with translate_errors():
        rows = target.execute(Templates((resources.SQL,)).sql("shadow_load/taken.sql.j2", names=[shadow])).fetchall()
    if rows and not (known and str(rows[0]["comment"]).startswith(marker(known.id))):
        raise TargetError(
            f"schema {shown_name('', shadow)} already exists, and planrun did not create it",
            hint="rename it: planrun builds the tables in a schema of this name",
            code="PR0804",
        )
