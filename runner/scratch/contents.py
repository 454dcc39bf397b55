"""What is in a scratch copy at one moment: its tables with their rows in files, and its other objects.

Values are their text, as PostgreSQL writes it with settings that are the same each time (Connections.open). A file
holds what COPY sends, so that PostgreSQL reads it again; of a table's rows a piece at a time is in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from runner import sqlfile
from runner.cancel import Cancel
from runner.database import copying
from runner.database.connections import translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import TargetError
from runner.sqltext import SqlText, ident
from runner.table_name import Named


class Column(NamedTuple):
    """A column. type: as SQL writes it, with its schema where it is not PostgreSQL's own."""

    number: int
    name: str
    type: str


@dataclass(frozen=True, kw_only=True)
class Table(Named):
    """A table. kind: `p` for a partitioned one, else `r`. root: OID of the one that it is a partition of, else 0.

    key: the numbers of the primary key's columns.
    """

    oid: int
    schema: str
    name: str
    kind: str
    root: int
    columns: tuple[Column, ...]
    key: tuple[int, ...]

    @property
    def source(self) -> SqlText:
        """What to write behind FROM for all of its rows, those of its partitions as well."""
        return self.full_name.sql if self.kind == "p" else SqlText(f"only {self.full_name.sql}")


@dataclass(frozen=True, kw_only=True)
class Object:
    """An object that is no table. kind: `view`, `function` ..., as people say it."""

    kind: str
    schema: str
    name: str


@dataclass(frozen=True, kw_only=True)
class SavedRows:
    """The rows of a table in a file. digest: of what COPY sent. trouble: why they could not be read, else ""."""

    file: Path
    count: int = 0
    digest: str = ""
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """tables: by OID. objects: by the OIDs of catalog and object. rows: by the OID of a table that is no partition."""

    tables: Mapping[int, Table]
    objects: Mapping[tuple[int, int], Object]
    rows: Mapping[int, SavedRows] = field(default_factory=dict)


def read(conn: DeadlineConnection) -> Contents:
    """Return what is there, without rows. Raises TargetError."""
    with translate_errors("looking at the scratch copy"):
        tables = conn.execute(sqlfile.read("scratch/contents.sql")).fetchall()
        objects = conn.execute(sqlfile.read("scratch/other_objects.sql")).fetchall()
    return Contents(
        tables={row["oid"]: _table(row) for row in tables},
        objects={
            (row["class"], row["oid"]): Object(kind=row["kind"], schema=row["schema"], name=row["name"])
            for row in objects
        },
    )


def _table(row: Mapping[str, Any]) -> Table:
    return Table(**{**row, "columns": tuple(Column(*each) for each in row["columns"]), "key": tuple(row["key"])})


def read_with_rows(conn: DeadlineConnection, folder: Path, cancel: Cancel) -> Contents:
    """Return what is there, with the rows in files of the folder. Raises TargetError."""
    found = read(conn)
    rows = {
        one.oid: save(conn, rows_query(one.source, one.columns), folder / f"{one.oid}.rows", cancel)
        for one in found.tables.values()
        if not one.root
    }
    return Contents(tables=found.tables, objects=found.objects, rows=rows)


def text_of(column: str) -> str:
    """Return the SQL for a value as text: concat(), as a cast may be one that the owner of a type has created."""
    return f"case when {column} is distinct from null then pg_catalog.concat({column}) end"


def rows_query(source: SqlText, columns: Sequence[Column]) -> SqlText:
    """Return the query for the rows of a table, each value as text."""
    return SqlText(f"select {', '.join(text_of('t.' + ident(one.name)) for one in columns)} from {source} as t")


def save(conn: DeadlineConnection, query: SqlText, file: Path | None, cancel: Cancel) -> SavedRows:
    """Write what a query gives to a file; without a file, only count it and make its digest."""
    digest, count = hashlib.sha256(), 0
    try:
        with translate_errors(), contextlib.ExitStack() as stack:
            out = stack.enter_context(file.open("wb")) if file else None
            for rows in copying.copy_out(conn, f"copy ({query}) to stdout", cancel):
                count += len(rows)
                data = b"".join(rows)
                digest.update(data)
                if out:
                    out.write(data)
    except TargetError as exc:
        cancel.check()
        if exc.category == "connection":
            raise
        return SavedRows(file=file or Path(), trouble=exc.message)
    return SavedRows(file=file or Path(), count=count, digest=digest.hexdigest())


def load(conn: DeadlineConnection, saved: SavedRows, columns: int) -> None:
    """Read the file of a table into the temporary table planrun_old, with columns c0, c1 ... of text."""
    names = ", ".join(f"c{number} text" for number in range(columns))
    conn.execute(f"drop table if exists pg_temp.planrun_old; create temp table planrun_old ({names})".encode())
    with (
        conn.cursor() as cursor,
        cursor.copy(b"copy pg_temp.planrun_old from stdin") as into,
        saved.file.open("rb") as file,
    ):
        while data := file.read(copying.PIECE):
            into.write(data)
    conn.execute(b"analyze pg_temp.planrun_old")
