"""Disable the triggers and rules of a table while it is filled, so that they do not change the copied rows.

Source: PostgreSQL docs, ALTER TABLE (ENABLE TRIGGER, ENABLE RULE); COPY fires triggers as INSERT does.
"""

from __future__ import annotations

from runner import sqlfile
from runner.sqltext import SqlText, literal


def disable(into: SqlText) -> SqlText:
    """Return plpgsql that disables triggers and rules of a table and keeps in `texts` how to enable them.

    The block must declare `it record` and `texts text[]`. A trigger of a partition follows its root's. Triggers of
    foreign keys and constraints are not touched.
    """
    return SqlText(sqlfile.fill("refresh/disable_triggers.plpgsql", tree=tree(as_regclass(into))).strip())


ENABLE = SqlText("for n in 1 .. pg_catalog.cardinality(texts) loop execute texts[n]; end loop;")
"""plpgsql that enables what `disable` disabled."""


def disable_until_enabled(into: SqlText) -> SqlText:
    """Return a statement that disables triggers and rules of a table until `enable` in the same transaction."""
    body = sqlfile.fill("refresh/disable_until_enabled.plpgsql", disable=disable(into))
    return SqlText(f"do {dollars(body)}")


def enable() -> SqlText:
    """Return a statement that enables what `disable_until_enabled` disabled."""
    return SqlText(f"do {dollars(sqlfile.fill('refresh/enable_triggers.plpgsql', enable=ENABLE))}")


def tree(table: SqlText) -> SqlText:
    """Return a query for the OIDs of a table and its partitions. table: an SQL expression of type regclass."""
    return SqlText(f"select {table}::pg_catalog.oid union all select relid from pg_catalog.pg_partition_tree({table})")


def as_regclass(table: SqlText) -> SqlText:
    return SqlText(f"{literal(table)}::pg_catalog.regclass")


def dollars(text: str) -> str:
    """Return a text on lines of its own in dollar quotes that do not occur in it, because a name may contain any
    text."""
    number = 0
    while (tag := f"$planrun{number or ''}$") in text:
        number += 1
    return f"{tag}\n{text}{tag}"
