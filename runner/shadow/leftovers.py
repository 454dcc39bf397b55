"""Remove what an unfinished refresh left, as drop_shadow does: the same SQL, the same locks."""

from __future__ import annotations

from typing import Any

import psycopg

from runner import resources
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.refresh.ledger import Refresh
from runner.refresh.removal import sets
from runner.safesql.templates import Templates
from runner.shadow.exchange import exchange

Conn = psycopg.Connection[dict[str, Any]]
_DEADLINE = 60.0
"""Seconds. Only the triggers of the change capture are on live tables; no application uses the rest."""


def remove(
    refresh: Refresh, connections: Connections, connection: str, *, cancel: Cancel, deadline: float = _DEADLINE
) -> None:
    """Remove what is left of a refresh, and its row in the ledger. Raises TargetError naming what prevents it."""
    with connections.open(connection, read_only=True) as conn:

        def ask(text: str) -> list[dict[str, Any]]:
            with translate_errors():
                return conn.execute(text).fetchall()

        removal = sets.plan_removal(refresh, ask, Templates((resources.SQL,)).sql)
    exchange(
        removal.exchange(connection, 0.0, deadline),
        connections,
        seal=lambda conn, result, xid: _commit(conn),
        cancel=cancel,
        again=lambda attempt, delay, message: None,
    )


def _commit(conn: Conn) -> None:
    conn.execute("commit")
