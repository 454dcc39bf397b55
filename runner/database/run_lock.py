"""One run at a time per database and plan area: a session-level advisory lock on a connection of its own.

The holder identifies itself in application_name, which every role may read in pg_stat_activity; so a refusal can
name it even though a backup needs no table of planrun. Source: PostgreSQL docs 13.3.5 (advisory locks).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from datetime import UTC
from typing import Any

import psycopg

from runner import sqlfile
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import LockedError, TargetError
from runner.words import PLAN

NAMESPACE = 0x706C616E  # "plan": the first half of the key in pg_locks.classid

_TRY = "select pg_catalog.pg_try_advisory_lock(%s, %s) as got"
_HOLDER = sqlfile.read("server/lock_holder.sql")
_UNLOCK = "select pg_catalog.pg_advisory_unlock(%s, %s)"
_BRIEF = 2.0
"""Seconds to wait for the server to confirm that the lock is released."""
_PID = "select pg_catalog.pg_backend_pid() as pid"


def application_name(run: str) -> str:
    """Return `planrun/<run>/<pid>@<host>`, cut to the 63 bytes that PostgreSQL keeps."""
    return f"planrun/{run}/{os.getpid()}@{socket.gethostname()}".encode("ascii", "replace")[:63].decode()


class RunLock:
    """A lock that is held from construction to `close`. Raises LockedError if another run holds it."""

    def __init__(self, connections: Connections, name: str, area: str) -> None:
        self._key = _key(area)
        self._conn = connections.open(name)
        try:
            refuse_transaction_pooling(connections, name, self._conn)
            self._take(area)
        except BaseException:
            self._conn.close()
            raise

    def _take(self, area: str) -> None:
        with translate_errors():
            row = self._conn.execute(_TRY, (NAMESPACE, self._key)).fetchone()
            if row and row["got"]:
                return
            found = self._conn.execute(_HOLDER, (NAMESPACE, self._key & 0xFFFFFFFF)).fetchone()
        raise LockedError(
            f"another run of plan '{area}' "
            f"{f'is at work: {_who(found)}' if found else 'was at work and has just ended'}",
            hint=f"wait until it ends; planrun status {PLAN} shows how far it is",
            code="PR0501",
        )

    def name_as(self, application: str) -> None:
        """Set the name under which others see the holder of the lock."""
        with translate_errors():
            self._conn.execute("select pg_catalog.set_config('application_name', %s, false)", (application,))

    def check(self) -> None:
        """Raise TargetError if the lock was lost with its connection: another run may be at work by now."""
        try:
            self._conn.execute("select 1")
        except psycopg.Error:
            raise TargetError(
                "the connection that holds the run's lock was lost",
                hint="planrun doctor shows whether the server answers; then run again",
                category="connection",
                code="PR0403",
            ) from None

    def close(self) -> None:
        release(self._conn, NAMESPACE, self._key)
        self._conn.close()


def release(conn: psycopg.Connection[Any], namespace: int, key: int) -> None:
    """Release a session-level advisory lock before its connection is closed.

    Closing alone is not enough: the server releases the lock when its process notices, a moment later, and a
    command typed at once would find another run at work. A server that hangs delays planrun by at most _BRIEF seconds.
    """
    if isinstance(conn, DeadlineConnection):
        conn.set_deadline(conn.response_deadline, _BRIEF, always=True)
    with contextlib.suppress(psycopg.Error):
        conn.execute(_UNLOCK, (namespace, key))


def holder(connections: Connections, name: str, area: str) -> str:
    """Return the holder of a plan area's lock (run, host, pid, user, since), or nothing."""
    with connections.open(name) as conn, translate_errors():
        found = conn.execute(_HOLDER, (NAMESPACE, _key(area) & 0xFFFFFFFF)).fetchone()
    return _who(found) if found else ""


def _key(area: str) -> int:
    return int.from_bytes(hashlib.sha256(area.encode()).digest()[:4], "big", signed=True)


def _who(found: dict[str, Any]) -> str:
    name = str(found["application_name"] or "")
    parts = name.split("/")
    if len(parts) == 3 and parts[0] == "planrun":
        pid, _, host = parts[2].partition("@")
        return f"run {parts[1]}, host {host}, pid {pid}, user {found['usename']}{_since(found)}"
    return f"backend {found['pid']} ({name or 'no name'}){_since(found)}"


def _since(found: dict[str, Any]) -> str:
    began = found["backend_start"]  # null for a role that may not see it
    return f", since {began.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if began else ""


def refuse_transaction_pooling(connections: Connections, name: str, conn: psycopg.Connection[Any]) -> None:
    """Raise TargetError if a pooler gives planrun's server process to others between transactions.

    A pooler invents the process id that the protocol announces. If that id equals the real one, there is no pooler. If
    it differs: three transactions in a row must meet the same process (a round-robin pool gives another one), and a
    transaction of a second connection, begun while this one is idle, must meet a different process (a pool that reuses
    the last process gives ours). Connections that keep their process pass both tests; only they can hold session locks.
    """
    with translate_errors():
        first = _pid(conn)
        if first == conn.info.backend_pid or _keeps(connections, name, conn, first):
            return
    raise TargetError(
        "this connection goes through a pooler in transaction mode, where session locks do not work",
        where=f"connection {name}" if name else None,
        hint="connect to PostgreSQL itself or to a pool with pool_mode = session",
        code="PR0408",
    )


def _keeps(connections: Connections, name: str, conn: psycopg.Connection[Any], first: int) -> bool:
    if any(_pid(conn) != first for _ in range(2)):
        return False
    with contextlib.closing(connections.open(name)) as other, other.transaction():
        return _pid(other) != first and _pid(conn) == first


def _pid(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute(_PID).fetchone()
    return int(row["pid"]) if row else 0
