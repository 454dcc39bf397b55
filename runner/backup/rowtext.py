"""The rows of one table as pg_dump writes them into SQL text, read by planrun's own connection.

Sources: pg_dump.c of PostgreSQL 14 to 18 (dumpTableData_copy, dumpTableData_insert); PostgreSQL docs, COPY.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg

from runner.backup.definitions import Definition
from runner.backup.snapshot import client_encoding
from runner.cancel import Cancel
from runner.database.copying import copy_out
from runner.model import Rows

_HEADER = 19
"""Bytes before the first row in the binary format: signature, flags, length of an extension."""
_BEFORE_THE_VALUE = 6
"""Bytes in each row: how many fields (one), and the length of the value."""
_END = b"\xff\xff"


def texts(
    table: Rows, definition: Definition, conn: psycopg.Connection[Any], cancel: Cancel, *, inserts: bool
) -> Iterator[tuple[bytes, int]]:
    """Yield the text of all rows and the comment above them in pieces, each with its number of rows.

    inserts: as INSERTs, else as a COPY. `conn` uses the snapshot. Raises psycopg.Error.
    """
    yield definition.heading(table.full_name), 0
    yield from (_inserts if inserts else _copy)(table, definition, conn, cancel)


def _copy(
    table: Rows, definition: Definition, conn: psycopg.Connection[Any], cancel: Cancel
) -> Iterator[tuple[bytes, int]]:
    columns = definition.columns(table.loaded_columns)
    yield b"COPY %b (%b) FROM stdin;\n" % (definition.name(table.full_name), columns), 0
    for rows in copy_out(conn, table.copy, cancel):
        yield b"".join(rows), len(rows)
    yield b"\\.\n\n\n", 0


def _inserts(
    table: Rows, definition: Definition, conn: psycopg.Connection[Any], cancel: Cancel
) -> Iterator[tuple[bytes, int]]:
    overriding = b"OVERRIDING SYSTEM VALUE " if table.overriding else b""
    begin = b"INSERT INTO %b %bVALUES (" % (definition.name(table.full_name), overriding)
    between, first = b");\n" + begin, True
    for rows in copy_out(conn, table.values, cancel):
        if first and rows:
            rows[0], first = rows[0][_HEADER:], False
        if rows and rows[-1] == _END:
            rows.pop()
        if rows:
            yield b"%b%b);\n" % (begin, between.join([row[_BEFORE_THE_VALUE:] for row in rows])), len(rows)
    yield b"\n\n", 0


@contextlib.contextmanager
def keep_stored_encoding(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """Let a database without an encoding send its bytes as they are."""
    encoding = client_encoding(conn.info.parameter_status("server_encoding") or "")
    if encoding == "UTF8":
        yield
        return
    conn.execute(f"set local client_encoding = {encoding}")
    yield
    conn.execute("set local client_encoding = UTF8")
