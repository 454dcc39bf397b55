"""Copy rows from one server to another, or read them to their end: COPY TO STDOUT and COPY FROM STDIN.

Rows are joined to pieces of 128 kB, each sent as a whole: the server accepts the stream in any pieces. Memory: one
piece.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import pq

from runner.cancel import Cancel
from runner.database.connections import target_error
from runner.database.copying import finish, flush, is_at_work, is_readable, row_lists, start, wait
from runner.errors import TargetError

Connection = psycopg.Connection[Any]
OnPiece = Callable[[Any, int], None]
"""Called with each piece of the stream, in order, and the number of its rows: bytes or a memoryview of them."""


def relay(source: Connection, target: Connection, out: str, into: str, cancel: Cancel, on_piece: OnPiece) -> int:
    """Run COPY `out` on the source and COPY `into` on the target, in the same format; return the number of rows.

    The target's connection must not get notices (client_min_messages = error): a message during a COPY is taken for an
    error. Both are in a transaction. Raises TargetError of the side that failed, or the reason of a cancel. A
    connection that is still copying is closed, so that its server stops; the others can be used.
    """
    with _errors_and_encoding((source, target), cancel):
        start(source, out, pq.ExecStatus.COPY_OUT, cancel)
        start(target, into, pq.ExecStatus.COPY_IN, cancel)
        whole = _pump(source.pgconn, target.pgconn, cancel, on_piece)
        return _finish(source, target, whole, cancel)


def read(conn: Connection, out: str, cancel: Cancel, on_piece: OnPiece) -> int:
    """Run COPY `out` to its end; return the number of rows. The connection is in a transaction.

    Raises TargetError, or the reason of a cancel; a connection that is still copying is then closed.
    """
    with _errors_and_encoding((conn,), cancel):
        start(conn, out, pq.ExecStatus.COPY_OUT, cancel)
        for piece, rows in _pieces(conn.pgconn, cancel):
            on_piece(piece, rows)
        return finish(conn.pgconn, cancel)


@contextlib.contextmanager
def _errors_and_encoding(connections: Sequence[Connection], cancel: Cancel) -> Iterator[None]:
    """Set the encoding for SQL_ASCII databases; after a failure, close connections that still copy, to stop their
    servers."""
    bytewise = [conn for conn in connections if conn.info.parameter_status("server_encoding") == "SQL_ASCII"]
    try:
        _set_encoding(bytewise, "SQL_ASCII")
        yield
        _set_encoding(bytewise, "UTF8")
    except BaseException as exc:
        for conn in connections:
            if is_at_work(conn):
                conn.close()
        cancel.check()
        if isinstance(exc, psycopg.Error):
            raise target_error(exc) from exc
        raise


def _set_encoding(connections: Iterable[Connection], encoding: str) -> None:
    """Let a database in SQL_ASCII send and accept bytes as they are; otherwise it would check that they are UTF8."""
    for conn in connections:
        conn.execute(f"set local client_encoding = {encoding}")


def _pump(source: pq.abc.PGconn, target: pq.abc.PGconn, cancel: Cancel, on_piece: OnPiece) -> bool:
    """Send pieces until the source ends (return true) or the target sends a message before that (return false).

    The only message that the target can send then is an error.
    """
    for piece, rows in _pieces(source, cancel):
        _write(target, piece, cancel)
        on_piece(piece, rows)
        flush(target, cancel)
        if is_readable(target):
            return False
    return True


def _pieces(source: pq.abc.PGconn, cancel: Cancel) -> Iterator[tuple[Any, int]]:
    for rows in row_lists(source, cancel):
        yield rows[0] if len(rows) == 1 else b"".join(rows), len(rows)  # a row may have a gigabyte


def _write(target: pq.abc.PGconn, data: Any, cancel: Cancel) -> None:
    while not target.put_copy_data(data):
        wait(target, cancel, to_write=True)


# ------------------------------------------------------------------ how it ends


def _finish(source: Connection, target: Connection, whole: bool, cancel: Cancel) -> int:
    """Tell the target how the copy ended, and return its row count. Raises the error of the side that failed first."""
    failed, sent = _end_of_source(source, cancel) if whole else (None, -1)
    problem = "the source failed" if failed else "" if whole else "the target failed"
    try:
        target.pgconn.put_copy_end(problem.encode() if problem else None)
        flush(target.pgconn, cancel)
        got = finish(target.pgconn, cancel)
    except psycopg.Error as exc:
        raise failed or exc from None
    if failed or got != sent:
        raise failed or TargetError(f"the source sent {sent} rows and the target has {got}", code="PR0812")
    return got


def _end_of_source(source: Connection, cancel: Cancel) -> tuple[psycopg.Error | None, int]:
    try:
        return None, finish(source.pgconn, cancel)
    except psycopg.Error as exc:
        return exc, -1
