"""Find out how PostgreSQL prints an expression after it has read its own text of the expression back.

`check (s in ('a', 'b'))` on a varchar is written `(s)::text = ANY ((ARRAY['a'::varchar, ...])::text[])`; read back, the
casts move to the elements, and from then on the text stays. So two different texts prove nothing; planrun compares what
both become. It creates the expressions again on empty copies of the tables, in a schema that is rolled back.
Sources: PostgreSQL docs 9.27.4 (pg_get_expr and its like), ruleutils.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import psycopg

from runner import sqlfile
from runner.safesql.renaming import relations, rename
from runner.sqltext import ident, literal, qualified
from runner.table_name import TableName

Conn = psycopg.Connection[dict[str, Any]]
Row = Mapping[str, Any]
Key = tuple[str, str, str]
"""Table, kind of thing, its name: what a row of shape.sql.j2 is about."""

_ASIDE = "planrun plain column"
_TYPE = "refresh/column_type.sql"

REWRITTEN = frozenset(("default", "generated", "constraint", "index", "statistics", "trigger", "rule", "partition key"))
"""The kinds of rows that hold an expression."""

_AFTER_ROWS = REWRITTEN - {"default", "generated", "partition key"}
"""Those of what is made when the rows are there."""

_PLAIN = re.compile(r"(?:PRIMARY KEY|UNIQUE) |USING btree \([^()]*\)(?: INCLUDE \([^()]*\))?\Z")


def _table_of(row: Row) -> str:
    return str(row["name"])


def key_of(row: Row) -> Key:
    return str(row["name"]), str(row["what"]), str(row["part"])


class RoundTrip:
    """Creates expressions again from their texts. shadow: the schema of the tables; schema: its name in the texts.

    shape: the query of shape.sql.j2 for tables of a schema, whose rows contain the new texts.
    """

    def __init__(
        self, conn: Conn, *, schema: str, shadow: str, place: str, shape: Callable[[str, Sequence[str]], str]
    ) -> None:
        self._conn, self._schema, self._shadow, self._place, self._shape = conn, schema, shadow, place, shape

    def settle(self, rows: Iterable[Row], mapping: Mapping[TableName, TableName]) -> dict[Key, str]:
        """Return the new text for each row; a text that cannot be created again stays as it is.

        rows: of shape.sql.j2. mapping: relation of the tables -> its name in the shadow.
        Raises psycopg.Error if not even an empty copy of a table can be created.
        """
        every = sorted((row for row in rows if row["what"] in REWRITTEN), key=_table_of)
        found = {key_of(row): str(row["text"]) for row in every}
        for table, some in groupby(every, key=_table_of):
            found |= self._settle_table(table, list(some), mapping)
        return found

    def failures(self, rows: Iterable[Row], mapping: Mapping[TableName, TableName]) -> Iterator[tuple[Row, str]]:
        """Yield each row whose text this server does not accept, with the reason. The arguments are those of `settle`.

        Indexes and keys of plain columns are left out: there is nothing in them that could fail. So are defaults and
        generated columns: the tables in the shadow have them already, as pg_dump writes them before the rows.
        """
        every = [row for row in rows if row["what"] in _AFTER_ROWS and not _PLAIN.search(row["text"])]
        for table, some in groupby(sorted(every, key=_table_of), key=_table_of):
            with self._conn.transaction(force_rollback=True):
                self._conn.execute(f"create schema {ident(self._place)}")
                yield from self.copy(table, list(some), mapping)

    def _settle_table(self, table: str, rows: Sequence[Row], mapping: Mapping[TableName, TableName]) -> dict[Key, str]:
        with self._conn.transaction(force_rollback=True):
            self._conn.execute(f"create schema {ident(self._place)}")
            list(self.copy(table, rows, mapping))  # what cannot be created keeps its text, and so stays a difference
            result = self._conn.execute(self._shape(self._place, [table])).fetchall()
        return {key_of(row): row["text"] for row in result if row["what"] in REWRITTEN}

    def copy(
        self, table: str, rows: Sequence[Row], mapping: Mapping[TableName, TableName]
    ) -> Iterator[tuple[Row, str]]:
        """Create an empty copy of a table in the schema `place` from the rows; yield the rows that fail."""
        key = next((f" partition by {row['text']}" for row in rows if row["what"] == "partition key"), "")
        copy, original = qualified(self._place, table), qualified(self._shadow, table)
        self._conn.execute(f"create table {copy} (like {original}){key}")
        constraints = {row["part"] for row in rows if row["what"] == "constraint"}
        for row in sorted(rows, key=lambda row: row["what"] != "generated"):  # others may use such a column
            if row["what"] == "index" and row["part"] in constraints:  # the constraint creates it
                continue
            try:
                with self._conn.transaction():
                    self._make(row, {**mapping, TableName(self._schema, table): TableName(self._place, table)})
            except psycopg.Error as exc:
                yield row, exc.diag.message_primary or str(exc)

    def _make(self, row: Row, mapping: Mapping[TableName, TableName]) -> None:
        table, part = qualified(self._place, row["name"]), ident(row["part"] or "-")
        text = rename(row["text"], mapping)
        match row["what"]:
            case "default":
                self._conn.execute(f"alter table {table} alter column {part} set default {text}")
            case "generated":  # before PostgreSQL 17 a column's expression cannot be set
                self._conn.execute(f"alter table {table} rename column {part} to {ident(_ASIDE)}")
                kind = self._conn.execute(sqlfile.fill(_TYPE, table=literal(table), column=literal(_ASIDE))).fetchall()
                generated = f"{kind[0]['type']} generated always as ({text}) stored"
                self._conn.execute(f"alter table {table} add column {part} {generated}, drop column {ident(_ASIDE)}")
            case "constraint":
                self._conn.execute(f"alter table {table} add constraint {part} {text}")
            case "statistics":
                name = relations(row["text"])[0]
                self._conn.execute(rename(row["text"], {**mapping, name: TableName(self._place, row["part"])}))
            case "index" | "trigger" | "rule":
                self._conn.execute(text)
