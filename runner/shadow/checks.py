"""The checks of a load: the empty tables accept every expression and view, and the filled ones equal the source's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.database.connections import translate_errors
from runner.database.deadlines import cancellable
from runner.errors import TargetError
from runner.refresh.catalog import refusals
from runner.refresh.catalog.dependents import Dependents
from runner.shadow import derived, structure
from runner.shadow.load_context import LoadContext, Row
from runner.shadow.round_trip import RoundTrip, key_of
from runner.shadow.rows import Rows
from runner.shadow.source import Source, shape_query
from runner.table_name import TableName
from runner.words import shown_name


def try_expressions(load: LoadContext, source: Source, dependents: Dependents) -> None:
    """Raise TargetError if the empty tables do not accept an expression of the source, or a view of the target.

    The catalogs reveal all other problems, so that afterwards only the rows themselves can fail.
    """
    load.say("expressions and views")
    with translate_errors("trying the expressions"), cancellable(load.conn, load.cancel):
        found = list(_round_trip(load).failures(source.shape, _names(load, source)))
    refusals.refuse(
        refusals.of_table(row["name"], f"its {row['what']} {shown_name('', row['part'])}: {why}") for row, why in found
    )
    derived.rehearse(
        load.conn, dependents, refresh=load.refresh.id, schemas={load.schema: load.shadow}, cancel=load.cancel
    )


def check_tables(load: LoadContext, source: Source, rows: Rows) -> None:
    """Raise TargetError if rows or structure differ from the source, or a new object depends on live tables."""
    differs = _differences(load, source)
    text = load.sql("strays", schema=load.schema, shadow=load.shadow, names=source.names)
    wrong = [*_count_differences(source, rows), *differs, *(str(row["what"]) for row in load.ask(text))]
    if wrong:
        more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
        raise TargetError(
            f"the new tables differ from those of the source: {'; '.join(wrong[:10])}{more}", code="PR0812"
        )


def _count_differences(source: Source, rows: Rows) -> Iterator[str]:
    """Yield the tables whose copied rows differ in number from those of the snapshot."""
    for name, copied in rows.of_roots(source).items():
        count = rows.source_counts.get(name, copied)
        if count != copied:
            yield f"table {shown_name('', name)}: {count} rows in the source, {copied} were copied"


def _differences(load: LoadContext, source: Source) -> list[str]:
    """Return the differences from the source, after this server has normalized the texts of expressions."""
    here = load.ask(shape_query(load, load.shadow, source.names))
    if not (keys := set(structure.unlike(source.shape, here))):
        return []

    def texts(rows: Sequence[Row]) -> dict[tuple[str, str, str], str]:
        return _round_trip(load).settle([row for row in rows if key_of(row) in keys], _names(load, source))

    with translate_errors("comparing the structure"), cancellable(load.conn, load.cancel):
        wanted, made = texts(source.shape), texts(here)
    alike = {key for key in keys if key in wanted and wanted[key] == made.get(key)}
    return structure.differences(sorted(keys - alike), source.shape, here)


def _round_trip(load: LoadContext) -> RoundTrip:
    def shape(schema: str, names: Sequence[str]) -> str:
        return shape_query(load, schema, names)

    place = f"planrun_again_{load.refresh.id}"
    return RoundTrip(load.conn, schema=load.schema, shadow=load.shadow, place=place, shape=shape)


def _names(load: LoadContext, source: Source) -> dict[TableName, TableName]:
    return structure.mapping(source.facts, load.schema, load.shadow)
