"""Count the rows of tables for a diff: small tables exactly, large ones by the server's estimate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.record import dataclass
from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.refresh.ledger import Ask

_SMALL = 8 << 20
"""Bytes up to which the rows of a table are counted."""
_AT_ONCE = 200

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RowCount:
    """The number of rows of a table, and its size on disk in bytes. exact: they were counted."""

    rows: int
    exact: bool
    bytes: int


def row_counts(schema: str, tables: Iterable[Row], ask: Ask, template: Callable[..., str]) -> dict[str, RowCount]:
    """Return the counts by table name.

    tables: mappings with name, bytes, estimate (None: the server has none), parts_below and readable.
    """
    every = list(tables)
    small = [row for row in every if row["readable"] and row["bytes"] <= _SMALL]
    counted: dict[str, int] = {}
    for start in range(0, len(small), _AT_ONCE):
        counted |= _count(schema, small[start : start + _AT_ONCE], ask, template)
    return {
        row["name"]: RowCount(
            rows=counted.get(row["name"], row["estimate"] or 0), exact=row["name"] in counted, bytes=row["bytes"]
        )
        for row in every
    }


def _count(schema: str, some: Sequence[Row], ask: Ask, template: Callable[..., str]) -> dict[str, int]:
    values = [
        {"schema": schema, "name": row["name"], "parts": row["parts_below"], "at": at} for at, row in enumerate(some)
    ]
    rows = ask(template("catalog/rows.sql.j2", small=values, large=[]))
    return {some[row["at"]]["name"]: row["rows"] for row in rows if row["rows"] is not None}


def live_row_counts(schema: str, names: Sequence[str], ask: Ask, template: Callable[..., str]) -> dict[str, RowCount]:
    """Return the counts of live tables by name; a name without a table is left out."""
    if not names:
        return {}
    found = ask(template("refresh/live_rows.sql.j2", schema=schema, names=list(names)))
    return row_counts(schema, ({**row, "parts_below": row["parts"]} for row in found), ask, template)


def table_counts(tables: Iterable[TableName], ask: Ask, template: Callable[..., str]) -> dict[TableName, RowCount]:
    """Return the counts of live tables of several schemas; a name without a table is left out."""
    names: dict[str, list[str]] = {}
    for table in tables:
        names.setdefault(table.schema, []).append(table.name)
    return {
        TableName(schema, name): count
        for schema, some in names.items()
        for name, count in live_row_counts(schema, some, ask, template).items()
    }
