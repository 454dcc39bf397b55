"""Copy rows from one server to another, or read them to their end: COPY TO STDOUT and COPY FROM STDIN.

Under psycopg's own loops: those cost a microsecond a row. libpq is asked without blocking and we wait in select(), so
that a server that hangs keeps neither Ctrl-C nor the other threads waiting. Rows are joined to pieces of 128 kB, which
are handed over whole: the server takes any cut of the stream. Memory: one piece.
Sources: PostgreSQL docs 34.10 (functions associated with COPY), 55.2.6 (COPY operations of the protocol).
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg
from psycopg import errors, pq

from runner.cancel import Cancel
from runner.database.connections import target_error
from runner.errors import TargetError

PIECE = 1 << 17
"""Bytes that are handed over at once; then we wait until they are on their way."""

_TICK = 0.2
"""Seconds after which a wait looks whether it was told to stop."""

_AT_IT = (pq.TransactionStatus.ACTIVE, pq.TransactionStatus.UNKNOWN)

Connection = psycopg.Connection[Any]
OnPiece = Callable[[Any], None]
"""Called with each piece of the stream, in order: bytes or a memoryview of them."""


def relay(source: Connection, target: Connection, out: str, into: str, cancel: Cancel, on_piece: OnPiece) -> int:
    """Run COPY `out` on the source and COPY `into` on the target; return the rows. Both have the same format.

    The target's connection must not get notices (client_min_messages = error): what it says amid a COPY is taken for an
    error. Both are in a transaction. Raises TargetError of the side that failed, or the reason of a cancel. A
    connection that was still at it is closed, so that its server stops; the others can be used.
    """
    bytewise = [conn for conn in (source, target) if conn.info.parameter_status("server_encoding") == "SQL_ASCII"]
    try:
        _set_encoding(bytewise, "SQL_ASCII")
        _start(source, out, pq.ExecStatus.COPY_OUT, cancel)
        _start(target, into, pq.ExecStatus.COPY_IN, cancel)
        whole = _pump(source.pgconn, target.pgconn, cancel, on_piece)
        rows = _finish(source, target, whole, cancel)
        _set_encoding(bytewise, "UTF8")
        return rows
    except BaseException as exc:
        _stop((source, target))
        cancel.check()
        if isinstance(exc, psycopg.Error):
            raise target_error(exc) from exc
        raise


def read(conn: Connection, out: str, cancel: Cancel, on_piece: OnPiece) -> int:
    """Run COPY `out` to its end; return the rows. The connection is in a transaction.

    Raises TargetError, or the reason of a cancel; a connection that was still at it is then closed.
    """
    bytewise = [conn] if conn.info.parameter_status("server_encoding") == "SQL_ASCII" else []
    try:
        _set_encoding(bytewise, "SQL_ASCII")
        _start(conn, out, pq.ExecStatus.COPY_OUT, cancel)
        for piece in _pieces(conn.pgconn, cancel):
            on_piece(piece)
        rows = _rows(conn.pgconn, cancel)
        _set_encoding(bytewise, "UTF8")
        return rows
    except BaseException as exc:
        _stop((conn,))
        cancel.check()
        if isinstance(exc, psycopg.Error):
            raise target_error(exc) from exc
        raise


def _stop(connections: Iterable[Connection]) -> None:
    """Close those that are still at it, so that their server stops."""
    for conn in connections:
        if conn.pgconn.transaction_status in _AT_IT:
            conn.close()


def _set_encoding(connections: Iterable[Connection], encoding: str) -> None:
    """Let a database in SQL_ASCII give and take bytes as they are: it would check that they are UTF8."""
    for conn in connections:
        conn.execute(f"set local client_encoding = {encoding}")


def _start(conn: Connection, statement: str, wanted: pq.ExecStatus, cancel: Cancel) -> None:
    conn.pgconn.nonblocking = 1
    conn.pgconn.send_query(statement.encode())
    _flush(conn.pgconn, cancel)
    result = _result(conn.pgconn, cancel)
    if result is None or result.status != wanted:
        _drain(conn.pgconn, cancel)
        raise _error(result)


def _pump(source: pq.abc.PGconn, target: pq.abc.PGconn, cancel: Cancel, on_piece: OnPiece) -> bool:
    """Hand over pieces until the source has no more (true) or the target says something before its time (false).

    What the target says then can only be that it failed.
    """
    for piece in _pieces(source, cancel):
        _write(target, piece, cancel)
        on_piece(piece)
        _flush(target, cancel)
        if _readable(target):
            return False
    return True


def _pieces(source: pq.abc.PGconn, cancel: Cancel) -> Iterator[Any]:
    """Yield the stream in pieces: full ones, or what has come when the server must be waited for."""
    rows: list[Any] = []
    held = 0
    while True:
        size, data = source.get_copy_data(1)
        if size > 0:
            rows.append(data)
            held += size
            if held < PIECE:
                continue
        if rows:
            yield rows[0] if len(rows) == 1 else b"".join(rows)  # a row may have a gigabyte
            rows, held = [], 0
        if size == 0:
            _wait(source, cancel)
            source.consume_input()
        elif size < 0:
            return


def _write(target: pq.abc.PGconn, data: Any, cancel: Cancel) -> None:
    while not target.put_copy_data(data):
        _wait(target, cancel, to_write=True)


def _flush(conn: pq.abc.PGconn, cancel: Cancel) -> None:
    while conn.flush():
        _wait(conn, cancel, to_write=True)


def _wait(conn: pq.abc.PGconn, cancel: Cancel, *, to_write: bool = False) -> None:
    """Wait until the server sends, or takes what we have. Raises the reason of a cancel."""
    read, write = ([], [conn.socket]) if to_write else ([conn.socket], [])
    while not any(select.select(read, write, [], _TICK)):
        cancel.check()


def _readable(conn: pq.abc.PGconn) -> bool:
    return bool(select.select([conn.socket], [], [], 0)[0])


# ------------------------------------------------------------------ how it ends


def _finish(source: Connection, target: Connection, whole: bool, cancel: Cancel) -> int:
    """Tell the target how it ended, and return its rows. Raises the error of the side that failed first."""
    failed, sent = _end_of_source(source, cancel) if whole else (None, -1)
    problem = "the source failed" if failed else "" if whole else "the target failed"
    try:
        target.pgconn.put_copy_end(problem.encode() if problem else None)
        _flush(target.pgconn, cancel)
        got = _rows(target.pgconn, cancel)
    except psycopg.Error as exc:
        raise failed or exc from None
    if failed or got != sent:
        raise failed or TargetError(f"the source sent {sent} rows and the target has {got}", code="PR0812")
    return got


def _end_of_source(source: Connection, cancel: Cancel) -> tuple[psycopg.Error | None, int]:
    try:
        return None, _rows(source.pgconn, cancel)
    except psycopg.Error as exc:
        return exc, -1


def _rows(conn: pq.abc.PGconn, cancel: Cancel) -> int:
    result = _result(conn, cancel)
    if result is None or result.status != pq.ExecStatus.COMMAND_OK:
        _drain(conn, cancel)
        raise _error(result)
    _drain(conn, cancel)
    return int(result.command_tuples or 0)


def _result(conn: pq.abc.PGconn, cancel: Cancel) -> pq.abc.PGresult | None:
    while conn.is_busy():
        _wait(conn, cancel)
        conn.consume_input()
    return conn.get_result()


def _drain(conn: pq.abc.PGconn, cancel: Cancel) -> None:
    while _result(conn, cancel):
        pass


def _error(result: pq.abc.PGresult | None) -> psycopg.Error:
    if result is None or result.status != pq.ExecStatus.FATAL_ERROR:
        return psycopg.OperationalError("the server did not answer COPY as it should")
    return errors.error_from_result(result)
