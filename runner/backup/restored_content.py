"""Compare the content of restored tables with the manifest of their session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner import sqlfile
from runner.backup.manifest import Manifest, Table
from runner.database.connections import VALUE_SETTINGS
from runner.row_queries import content_query, md5_query
from runner.sqltext import literal
from runner.table_name import Named, TableName

Ask = Callable[[str], Sequence[Mapping[str, Any]]]
"""Runs a query inside of a transaction and returns its rows."""

Place = Callable[[str], str]
"""Schema of the session -> schema where its tables are now."""

OTHER_HASHES = "this server computes other checksums than the one of the backup, so only rows were counted"


@dataclass(frozen=True)
class Compared(Named):
    """A table as it was backed up and as it was restored; `problem` is "" if they are the same."""

    schema: str
    name: str
    rows: int
    problem: str = ""


class Comparison:
    """Counts rows and checksums content in one transaction as the backup did, and compares with the manifest.

    `counts_only`: this server hashes in another way than the one of the backup, as one with another byte order does.
    """

    def __init__(self, ask: Ask, manifest: Manifest, place: Place = str) -> None:
        self._ask, self._place = ask, place
        settings = ", ".join(
            f"pg_catalog.set_config({literal(n)}, {literal(v)}, true)" for n, v in VALUE_SETTINGS.items()
        )
        ask(f"select {settings}, pg_catalog.set_config('row_security', 'off', true) as row_security")
        expected = manifest.server.hash_sample if manifest.server else None
        self._query = content_query if expected else md5_query
        self.counts_only = bool(expected) and ask(_SAMPLE)[0]["hash_sample"] != expected

    def compare(self, table: Table) -> Compared:
        schema = self._place(table.schema)
        kinds = self._ask(sqlfile.fill(_KIND, schema=literal(schema), name=literal(table.name)))
        if not kinds:
            return Compared(schema, table.name, 0, "does not exist")
        row = self._ask(self._query(TableName(schema, table.name), parts=kinds[0]["kind"] == "p"))[0]
        rows, problem = int(row["rows"]), ""
        if rows != table.rows:
            problem = f"{rows} rows, but {table.rows} were dumped"
        elif str(row["checksum"]) != table.checksum and not self.counts_only:
            problem = f"the content of its {rows} rows is not what was dumped"
        return Compared(schema, table.name, rows, problem)


_KIND = "pg_restore/kind.sql"
_SAMPLE = sqlfile.read("server/version.sql")
