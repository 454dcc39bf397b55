"""The page for people: order of the files and the command lines."""

from __future__ import annotations

import pytest

from runner.backup.manifest import Table
from runner.backup.summary import by_hand, in_order
from runner.table_name import TableName


def table(name: str, *before: str) -> Table:
    references = tuple(TableName("public", other) for other in before)
    return Table(
        schema="public", name=name, file=f"{name}.sql", rows=1, checksum="", bytes=1, sha256="", references=references
    )


def test_a_table_comes_after_those_it_refers_to() -> None:
    tables = [table("a", "b", "elsewhere"), table("b", "c"), table("c")]
    assert in_order(tables) == ["c.sql", "b.sql", "a.sql"]


def test_where_it_goes_in_a_circle_the_order_stays() -> None:
    assert in_order([table("a", "b"), table("b", "a")]) == ["a.sql", "b.sql"]


@pytest.mark.parametrize(
    ("file", "form", "line"),
    [
        ("a.sql", "insert", "psql -X -d DATABASE -f a.sql"),
        ("a b.sql", "copy", "psql -X -d DATABASE -f 'a b.sql'"),
        ("a.sql.gz", "insert", "gunzip -c a.sql.gz | psql -X -d DATABASE"),
        ("a.sql.zst", "insert", "zstd -dc a.sql.zst | psql -X -d DATABASE"),
        ("a.dump", "custom", "pg_restore -d DATABASE a.dump"),
        ("a.dir", "directory", "pg_restore -d DATABASE a.dir"),
    ],
)
def test_command_lines(file: str, form: str, line: str) -> None:
    assert by_hand(file, form) == line


def test_csv_is_loaded_between_its_ddl_and_a_copy() -> None:
    assert by_hand("a.csv.gz", "csv") == (
        "psql -X -d DATABASE -f a.schema.sql && gunzip -c a.csv.gz | "
        "psql -X -d DATABASE -c '\\copy TABLE from stdin (format csv, header)'"
    )
