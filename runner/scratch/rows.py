"""Copy the rows of a database into a scratch copy: none, a sample in which every foreign key finds its row, or all.

Rows come before constraints, indexes and triggers, so nothing of a table's owner runs but checks and what generated
columns call, as the role without rights that fills the copy. Of a table's rows a piece at a time is in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Self

from runner import sqlfile
from runner.backup.snapshot import Conn, Snapshot
from runner.cancel import Cancel
from runner.database import copying
from runner.database.connections import translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import TargetError
from runner.scratch.structure import LeftOut
from runner.sqltext import idents, literal
from runner.table_name import TableName

SAMPLE = 1000
"""Rows of a table that a sample takes, without those that its foreign keys add."""
_KEYS = 500
"""Keys that are looked up by one statement."""
_ROUNDS = 100
"""How often foreign keys are followed; a longer chain, such as a list in a table, is cut."""


class Rows(StrEnum):
    """Which rows a scratch copy gets."""

    NONE = "none"
    SAMPLE = "sample"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What came of it: rows and tables that have some, and what was left out."""

    rows: int
    tables: int
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, kw_only=True)
class _Key:
    """A foreign key. types: of the referenced columns."""

    child: TableName
    columns: tuple[str, ...]
    parent: TableName
    ref_columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def orphans(self) -> str:
        """The condition of rows `c` of the child whose row in the parent is missing."""
        there = " and ".join(f"c.{idents([name])} is not null" for name in self.columns)
        same = " and ".join(
            f"p.{idents([b])} = c.{idents([a])}" for a, b in zip(self.columns, self.ref_columns, strict=True)
        )
        return f"{there} and not exists (select from {self.parent.sql} as p where {same})"


class Filler:
    """Copies rows from an original, in its snapshot, to a scratch database that has its tables and no constraints.

    target: a connection to the scratch database. tables: rows of sql/scratch/tables.sql that are in both. For use in a
    `with`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        target: DeadlineConnection,
        tables: Sequence[Mapping[str, Any]],
        cancel: Cancel,
    ) -> None:
        self._snapshot, self._target, self._cancel = snapshot, target, cancel
        self._stack = contextlib.ExitStack()
        self._reader: Conn | None = None
        self._tables = {TableName.of(row): row for row in tables}
        self._counts = dict[TableName, int]()
        self.left_out = list[LeftOut]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def _source(self) -> Conn:
        """A connection that sees the snapshot: another one after a COPY that was not read to its end."""
        if self._reader is None or self._reader.closed:
            self._reader = self._stack.enter_context(self._snapshot.open_reader())
            self._reader.execute("savepoint planrun_rows")
        return self._reader

    def fill(self, rows: Rows, number: int) -> Filled:
        """Copy the rows. number: how many of each table a sample takes."""
        if rows is not Rows.NONE:
            for name, row in self._tables.items():
                if row["part"] or not row["columns"]:
                    continue  # with the table that it is a part of, or its rows say nothing
                self._copy(name, f"{self._select(row)}{self._limit(row, number) if rows is Rows.SAMPLE else ''}")
        if rows is Rows.SAMPLE:
            self._close()
        with_rows = [count for count in self._counts.values() if count]
        return Filled(rows=sum(with_rows), tables=len(with_rows), left_out=tuple(self.left_out))

    def _select(self, row: Mapping[str, Any]) -> str:
        only = "only " if row["kind"] == "r" else ""
        return f"select {idents(row['columns'])} from {only}{TableName.of(row).sql} as t"

    @staticmethod
    def _limit(row: Mapping[str, Any], number: int) -> str:
        """Return the first rows by the primary key; without one the first of the file, which are the same each time."""
        order = f" order by {', '.join('t.' + idents([name]) for name in row['key'])}" if row["key"] else ""
        return f"{order} limit {number}"

    def _copy(self, name: TableName, query: str) -> int:
        """Copy what a query of the original gives into a table; return how many rows. A failure leaves it as it is."""
        columns = idents(self._tables[name]["columns"])
        try:
            with translate_errors(), self._target.transaction(), self._target.cursor() as cursor:
                with cursor.copy(f"copy {name.sql} ({columns}) from stdin".encode()) as into:
                    for rows in copying.copy_out(self._source, f"copy ({query}) to stdout", self._cancel):
                        into.write(b"".join(rows))
                count = max(cursor.rowcount, 0)
        except TargetError as exc:
            self._cancel.check()
            if exc.category == "connection":
                raise
            self.left_out.append(LeftOut(what=f"rows of {name}", reason=exc.message))
            self._restore_snapshot()
            return 0
        self._counts[name] = self._counts.get(name, 0) + count
        return count

    def _restore_snapshot(self) -> None:
        """Go on in the snapshot after a statement of the original failed."""
        if self._reader is not None and not self._reader.closed:
            self._reader.execute("rollback to savepoint planrun_rows")

    # -------------------------------------------------------------- foreign keys

    def _close(self) -> None:
        """Add the rows that foreign keys of the sample need, and those that these need."""
        keys = [one for one in self._keys() if one.child in self._tables and one.parent in self._tables]
        for _ in range(_ROUNDS):
            if not sum([self._add_parents(key) for key in keys]):
                break
        for _ in range(_ROUNDS):
            if not sum([self._drop_orphans(key) for key in keys]):
                break

    def _keys(self) -> list[_Key]:
        rows = self._snapshot.ask(sqlfile.read("scratch/foreign_keys.sql"), "reading foreign keys")
        return [
            _Key(
                child=TableName(row["schema"], row["table"]), columns=tuple(row["columns"]),
                parent=TableName(row["ref_schema"], row["ref_table"]), ref_columns=tuple(row["ref_columns"]),
                types=tuple(row["types"]),
            )
            for row in rows
        ]  # fmt: skip

    def _add_parents(self, key: _Key) -> int:
        """Copy the missing rows of one foreign key's parent; return how many came."""
        added = 0
        for batch in _batches(self._missing_keys(key)):
            wanted = ", ".join(f"({', '.join(values)})" for values in batch)
            columns = ", ".join(f"t.{idents([name])}" for name in key.ref_columns)
            row = self._tables[key.parent]
            added += self._copy(key.parent, f"{self._select(row)} where ({columns}) in ({wanted})")
        return added

    def _missing_keys(self, key: _Key) -> Iterator[tuple[str, ...]]:
        """Yield the keys that are in the child and not in the parent, as SQL literals; all of them of one moment."""
        names = ", ".join(f"c.{idents([name])}::pg_catalog.text as k{i}" for i, name in enumerate(key.columns))
        query = f"select distinct {names} from {key.child.sql} as c where {key.orphans}"
        with translate_errors(f"looking for rows of {key.parent}"):
            rows = self._target.execute(query.encode()).fetchall()
        yield from (tuple(f"{literal(row[f'k{i}'])}::{kind}" for i, kind in enumerate(key.types)) for row in rows)

    def _drop_orphans(self, key: _Key) -> int:
        """Delete the rows whose row in the parent is in no reach: a key that was never valid, or a long chain."""
        with translate_errors(f"looking at rows of {key.child}"):
            gone = self._target.execute(f"delete from {key.child.sql} as c where {key.orphans}".encode()).rowcount
        if gone > 0:
            self._counts[key.child] = self._counts.get(key.child, 0) - gone
            self.left_out.append(
                LeftOut(what=f"{gone} rows of {key.child}", reason=f"their rows of {key.parent} were not found")
            )
        return max(gone, 0)


def _batches(keys: Iterator[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    while batch := list(islice(keys, _KEYS)):
        yield batch
