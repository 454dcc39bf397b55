"""Steps of a COPY below psycopg's own loops, which cost a microsecond for each row.

libpq is called without blocking and planrun waits in select(), so a server that hangs blocks neither Ctrl-C nor other
threads.
Sources: PostgreSQL docs 34.10 (functions associated with COPY), 55.2.6 (COPY operations of the protocol).
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import errors, pq

from runner.cancel import Cancel

PIECE = 1 << 17
"""Bytes that are passed on at once."""

_TICK = 0.2
"""Seconds after which a wait checks whether it was cancelled."""

_AT_IT = (pq.TransactionStatus.ACTIVE, pq.TransactionStatus.UNKNOWN)

Connection = psycopg.Connection[Any]


def copy_out(conn: Connection, statement: str, cancel: Cancel) -> Iterator[list[memoryview]]:
    """Yield the messages of a COPY ... TO STDOUT, one per row, in lists of about PIECE bytes.

    Raises psycopg.Error, or the reason of a cancel; a connection that is still copying is closed, so that its server
    stops.
    """
    try:
        start(conn, statement, pq.ExecStatus.COPY_OUT, cancel)
        yield from row_lists(conn.pgconn, cancel)
        finish(conn.pgconn, cancel)
    except BaseException:
        if is_at_work(conn):
            conn.close()
        cancel.check()
        raise


def row_lists(conn: pq.abc.PGconn, cancel: Cancel) -> Iterator[list[memoryview]]:
    """Yield the rows of a COPY that has begun, in lists of about PIECE bytes, or of the rows received before a wait."""
    rows, held, get = list[memoryview](), 0, conn.get_copy_data
    while True:
        size, data = get(1)
        if size > 0:
            rows.append(data)
            held += size
            if held < PIECE:
                continue
        if rows:
            yield rows
            rows, held = [], 0
        if size == 0:
            wait(conn, cancel)
            conn.consume_input()
        elif size < 0:
            return


def start(conn: Connection, statement: str, wanted: pq.ExecStatus, cancel: Cancel) -> None:
    """Send a COPY and wait until the server is ready for it. Raises psycopg.Error."""
    conn.pgconn.nonblocking = 1
    conn.pgconn.send_query(statement.encode())
    flush(conn.pgconn, cancel)
    found = _result(conn.pgconn, cancel)
    if found is None or found.status != wanted:
        _drain(conn.pgconn, cancel)
        raise _error(found)


def finish(conn: pq.abc.PGconn, cancel: Cancel) -> int:
    """Read how a COPY ended and return its rows. Raises psycopg.Error."""
    found = _result(conn, cancel)
    if found is None or found.status != pq.ExecStatus.COMMAND_OK:
        _drain(conn, cancel)
        raise _error(found)
    _drain(conn, cancel)
    return int(found.command_tuples or 0)


def flush(conn: pq.abc.PGconn, cancel: Cancel) -> None:
    while conn.flush():
        wait(conn, cancel, to_write=True)


def wait(conn: pq.abc.PGconn, cancel: Cancel, *, to_write: bool = False) -> None:
    """Wait until the server sends data or accepts planrun's data. Raises the reason of a cancel."""
    read, write = ([], [conn.socket]) if to_write else ([conn.socket], [])
    while not any(select.select(read, write, [], _TICK)):
        cancel.check()


def is_readable(conn: pq.abc.PGconn) -> bool:
    return bool(select.select([conn.socket], [], [], 0)[0])


def is_at_work(conn: Connection) -> bool:
    """Return whether a statement runs on the connection; true if that is unknown."""
    return conn.pgconn.transaction_status in _AT_IT


def _result(conn: pq.abc.PGconn, cancel: Cancel) -> pq.abc.PGresult | None:
    while conn.is_busy():
        wait(conn, cancel)
        conn.consume_input()
    return conn.get_result()


def _drain(conn: pq.abc.PGconn, cancel: Cancel) -> None:
    while _result(conn, cancel):
        pass


def _error(result: pq.abc.PGresult | None) -> psycopg.Error:
    if result is None or result.status != pq.ExecStatus.FATAL_ERROR:
        return psycopg.OperationalError("the server did not answer COPY as it should")
    return errors.error_from_result(result)
