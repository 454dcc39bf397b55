"""Run SQL that changes something, in one transaction together with its journal row.

The SQL is in the plan (`text`) or in a file under the plan's `sql/` folder (`file`). With `values` it is a template, in
which `{{ name }}` becomes a whole literal and `{{ name|ident }}` a whole identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from runner.fates import Fate, ObjectFate, Preview
from runner.kinds.base import CatalogReader, Output, Prospect, Render, SqlParams, SqlReader, StatementFacts, param
from runner.losses import Loss
from runner.model import UNKNOWN, Action, Result, Sql
from runner.record import dataclass
from runner.refresh.row_counts import RowCount, table_counts
from runner.table_name import TableName
from runner.words import plural

OUTPUTS: Mapping[str, Output] = {
    "count": Output("integer", "The number of rows that the last statement changed or returned."),
}


CHANGES = True


@dataclass(frozen=True, kw_only=True)
class Params(SqlParams):
    transaction: bool = param(
        "`false` for statements that PostgreSQL refuses in a transaction, such as CREATE INDEX CONCURRENTLY or VACUUM.",
        default=True,
    )


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    text = params.render_sql(sql)
    return (
        Sql(
            text=text,
            connection=params.connection,
            transaction=params.transaction,
            theirs=True,
            error_detail=params.error_detail,
        ),
    )


def preview(prospect: Prospect) -> Preview | None:
    """Preview the relations that the statements work on and about how many rows they change."""
    params, reader = prospect.params, prospect.reader
    if params is None:
        return None
    found = reader.explain(params.render_sql(reader.sql), connection=params.connection)
    tables = {one.name: TableName.parse(one.name) for one in found if one.there and one.kind == "table"}
    counts = table_counts([*tables.values()], partial(reader.rows, connection=params.connection), reader.sql)
    counted = {name: counts.get(table) for name, table in tables.items()}
    named = {one.text for one in found if one.name}
    return Preview(
        objects=tuple(_fate(one, counted.get(one.name)) for one in found if one.name),
        lines=tuple(dict.fromkeys(_short(one.text) for one in found if one.text not in named)),
    )


def _fate(one: StatementFacts, count: RowCount | None) -> ObjectFate:
    return ObjectFate(
        kind=one.kind,
        name=one.name,
        fate=Fate.DROPPED if one.verb.startswith("drop ") and one.there else Fate.CHANGED,
        rows=count.rows if count else None,
        bytes=count.bytes if count else None,
        note=_what(one) if one.there else f"{_what(one)}; there is none now",
        exact=count is not None and count.exact,
    )


def _what(one: StatementFacts) -> str:
    """Return the verb with the rows that it touches, as far as the server can estimate them."""
    if one.touched is None:
        return one.verb
    if (one.there and one.analyzed) or one.verb == "insert into":
        return f"{one.verb.split()[0]} of about {plural(one.touched, 'row')}"
    return f"{one.verb.split()[0]} of an unknown number of rows (the table was never analyzed)"


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 4]} ..."


_WIDTH = 76
"""Characters of a statement that a diff shows without --verbose."""


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return {"count": UNKNOWN}
    return {"count": results[0].get("count", 0)}


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    place = given.get("connection", "")
    return tuple(replace(one, place=place) for one in read(given).losses)


def makes(given: Mapping[str, Any], read: SqlReader) -> tuple[TableName, ...]:
    return read(given).makes
