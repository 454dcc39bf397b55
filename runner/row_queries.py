"""The queries that read the rows of a table for a backup: to count them, and to write them as pg_dump does.

Made from files with tokens and not from templates, which cost a millisecond each: a backup makes four for each table.
Source: pg_dump.c of PostgreSQL 14 to 18 (dumpTableData_insert).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner import sqlfile
from runner.sqltext import SqlText, ident, idents
from runner.table_name import TableName

_ARGUMENTS = 90
"""Values that are joined in one call; a function takes at most 100 arguments."""

_NEGATIVE_ZERO = "{name} = 0 and {name}::pg_catalog.float8::text = '-0'"

# concat(), because a cast to text may be one that the owner of the column's type has created; the casts of all other
# kinds are PostgreSQL's own.
_VALUE = {
    "generated": "'DEFAULT'",
    "integer": "coalesce({name}::text, 'NULL')",
    "boolean": "coalesce({name}::text, 'NULL')",
    "number": "case when {name} >= 'Infinity' or {name} = '-Infinity' then '''' || {name}::text || ''''"
    " else coalesce({name}::text, 'NULL') end",
    "bit": "coalesce('B''' || {name}::text || '''', 'NULL')",
    "unquoted": "coalesce('''' || {name}::text || '''', 'NULL')",
    "text": "coalesce('''' || pg_catalog.replace({name}::text, '''', '''''') || '''', 'NULL')",
    "other": "case when {name} is not distinct from null then 'NULL'"
    " else '''' || pg_catalog.replace(pg_catalog.concat({name}), '''', '''''') || '''' end",
}
"""How pg_dump --inserts writes a column's value, by the kinds of pg_dump/holders.sql.j2."""


def content_query(table: TableName, *, parts: bool, floats: Iterable[str] = ()) -> SqlText:
    """Return the query that counts and checksums a table: rows (bigint), checksum (text).

    parts: also the rows of its partitions. floats: columns that may contain a negative zero, which pg_dump --inserts
    writes as the integer -0, that is, 0; the query then also returns negative_zero (bool).
    """
    zeros = " or ".join(_NEGATIVE_ZERO.replace("{name}", f"t.{ident(name)}") for name in floats)
    more = f",\n       coalesce(bool_or({zeros}), false) as negative_zero" if zeros else ""
    return sqlfile.fill("pg_dump/content.sql", table=_only(table, parts), more=SqlText(more))


def md5_query(table: TableName, *, parts: bool) -> SqlText:
    """Return the query with the result of `content_query` for sessions whose checksums are sums of MD5."""
    return sqlfile.fill("pg_restore/content_md5.sql", table=_only(table, parts))


def _only(table: TableName, parts: bool) -> SqlText:
    return table.sql if parts else SqlText(f"only {table.sql}")


def copy_query(table: TableName, columns: Iterable[str]) -> SqlText:
    """Return the COPY that gives the rows of a table as text."""
    return sqlfile.fill("pg_dump/copy_table.sql", table=table.sql, columns=idents(list(columns)))


def values_query(table: TableName, columns: Sequence[tuple[str, str]]) -> SqlText:
    """Return the COPY that gives the values of each row as one text, from the name and kind of each column."""
    values = [_VALUE[kind].replace("{name}", f"t.{ident(name)}") for name, kind in columns]
    calls = [_join(values[start : start + _ARGUMENTS]) for start in range(0, len(values), _ARGUMENTS)]
    return sqlfile.fill("pg_dump/values.sql", table=table.sql, values=SqlText(",\n    ".join(calls)))


def _join(values: Sequence[str]) -> str:
    return f"pg_catalog.concat_ws(', ', {', '.join(values)})" if len(values) > 1 else values[0]
