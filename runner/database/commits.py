"""Ask the server for the result of a transaction if the answer to its COMMIT was lost.

Source: PostgreSQL docs 9.27.9, pg_xact_status.
"""

from __future__ import annotations

import time

from runner.database.connections import Connections, translate_errors
from runner.errors import ConnectError, PlanrunError, TargetError, UnknownStateError

_LOOKS = 50
_PAUSE = 0.1
"""Seconds between two queries for a transaction in progress: a backend notices a lost client when it commits."""


def status(connections: Connections, name: str, xid: str) -> str:
    """Return the result of a transaction: committed or aborted; unknown if the server has forgotten it.

    Raises ConnectError or TargetError if the server cannot be asked, or if the transaction runs for 5 more seconds.
    """
    for _ in range(_LOOKS):
        found = ask(connections, name, xid)
        if found != "in progress":
            return found
        time.sleep(_PAUSE)
    raise TargetError("the transaction is still in progress on the server", code="PR0410")


def raise_unless_committed(connections: Connections, name: str, xid: str, error: PlanrunError, *, hint: str) -> None:
    """Return if the transaction was committed nevertheless. Raises `error` if it was not.

    Raises UnknownStateError with the hint if the server cannot be asked.
    """
    try:
        found = status(connections, name, xid)
    except (ConnectError, TargetError) as exc:
        raise UnknownStateError(
            f"the answer to COMMIT of transaction {xid} was lost and planrun cannot ask the server: {exc.message}",
            hint=hint,
            code="PR0410",
        ) from error
    if found != "committed":
        raise error


def ask(connections: Connections, name: str, xid: str) -> str:
    """Return the state of a transaction from the server: committed, aborted, in progress or unknown."""
    with connections.open(name) as conn, translate_errors():
        row = conn.execute("select pg_catalog.pg_xact_status(%s::pg_catalog.xid8) as status", (xid,)).fetchone()
    return str(row["status"] or "unknown") if row else "unknown"
