"""What the source's tables require in the target: types, extensions, functions, schemas; and the functions they call.

Rows come from sql/catalog/needs.sql.j2 (the source), sql/shadow_load/things.sql.j2 (both) and
sql/shadow_load/calls.sql.j2 (the source).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.refresh.catalog import refusals
from runner.refresh.catalog.expressions import settle
from runner.refresh.catalog.refusals import Refusal
from runner.table_name import TableName
from runner.words import shown_name

Row = Mapping[str, Any]

_WAY = "create it in the target as it is in the source"


def required_rows(needs: Iterable[Row], own: Collection[tuple[str, str]]) -> list[Row]:
    """Return the rows of needs.sql.j2 that must exist in the target already; own: schema and name of what is loaded."""
    return [row for row in needs if row["kind"] != "role" and TableName.of(row) not in own]


def values(required: Sequence[Row]) -> dict[str, list[str]]:
    """Return the values of things.sql.j2."""
    words = {"kinds": "kind", "schemas": "schema", "names": "name", "identities": "identity"}
    return {key: [str(row[word]) for row in required] for key, word in words.items()}


def missing_things(required: Iterable[Row], source: Iterable[Row], target: Iterable[Row]) -> Iterator[Refusal]:
    """Yield a refusal for each object that is missing in the target or differs there."""
    here, there = _by_identity(target), _by_identity(source)
    for row in required:
        key = row["kind"], row["identity"]
        if key not in here:
            yield Refusal(what=" ".join(key), reason="the target does not have it", way=_WAY)
        elif key in there and settle(here[key]["text"]) != settle(there[key]["text"]):
            reason = f"{there[key]['text']} in the source, {here[key]['text']} in the target"
            yield Refusal(what=" ".join(key), reason=reason, way=_WAY)


def calls(rows: Iterable[Row], source: Iterable[Row], target: Iterable[Row]) -> Iterator[Refusal]:
    """Yield a refusal for each expression that cannot be created in a shadow schema, or would mean something else
    there.

    rows: of calls.sql.j2.
    """
    here, there = _functions(target), _functions(source)
    for row in rows:
        function, table = row["identity"], row["name"]
        what = f"its {row['kind']} {shown_name('', row['part'])} calls {function}"
        if row["row_type"]:
            reason = f"{what}, whose argument is the row type of a table that is replaced"
            yield refusals.of_table(table, reason, "call it with single columns, or drop what calls it")
            continue
        if function in here and (names := here[function]["finds"]):
            listed = ", ".join(shown_name("", name) for name in names)
            reason = f"{what}, which finds {listed} by search_path, which is empty while planrun creates tables"
            yield refusals.of_table(table, reason, f"alter function {function} set search_path = {_paths(function)}")
        if row["kind"] == "generated column" and _unlike(function, here, there):
            reason = f"{what}, which does something else in the target"
            yield refusals.of_table(table, reason, "make the function the same in both")


def unlike(rows: Iterable[Row], source: Iterable[Row], target: Iterable[Row]) -> Iterator[str]:
    """Yield a line for each function whose body in the target differs from the source, except those that `calls`
    refuses."""
    here, there = _functions(target), _functions(source)
    generated = {row["identity"] for row in rows if row["kind"] == "generated column"}
    for function in sorted(here.keys() - generated):
        if _unlike(function, here, there):
            yield (
                f"function {function} does something else in the target than in the source: the one of the target stays"
            )


def _unlike(function: str, here: Mapping[str, Row], there: Mapping[str, Row]) -> bool:
    return function in here and function in there and here[function]["body"] != there[function]["body"]


def _paths(function: str) -> str:
    """Return the schema of a function, as its identity begins with it."""
    schema = function.partition("(")[0].rpartition(".")[0]
    return f"{schema}, pg_temp" if schema else "public, pg_temp"


def _by_identity(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    return {(row["kind"], row["identity"]): row for row in rows}


def _functions(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["identity"]: row for row in rows if row["body"]}
