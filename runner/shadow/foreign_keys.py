"""Foreign keys of the source tables: record all for the swap; create those between two loaded tables at once.

They are created NOT VALID one after the other, because each locks two tables; then several are validated at
the same time. Source: PostgreSQL docs, ALTER TABLE (ADD table_constraint NOT VALID, VALIDATE CONSTRAINT).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from runner.refresh.catalog.relations import ForeignKey
from runner.sqltext import SqlText, ident, literal


def refusals(keys: Iterable[ForeignKey]) -> list[str]:
    """Return the foreign keys that cannot be carried over, as text for people."""
    why = "WITH PERIOD and NOT ENFORCED are not supported"
    return [f"foreign key {key}: {why}" for key in keys if not key.plain or key.tail.endswith("NOT ENFORCED")]


def keys_between(
    keys: Iterable[ForeignKey], tables: Mapping[str, str], without: Collection[str], schema: str, shadow: str
) -> Iterator[ForeignKey]:
    """Yield the foreign keys between two of the tables, as they are in the shadow.

    tables: name -> root, of every table and partition. without: roots whose rows come from elsewhere.
    """
    for key in keys:
        roots = {tables.get(key.table), tables.get(key.ref_table)}
        if key.ref_schema == schema and None not in roots and not roots & set(without):
            yield replace(key, schema=shadow, ref_schema=shadow)


def create_sql(key: ForeignKey) -> Iterator[SqlText]:
    """Yield the SQL that creates one; a partitioned table does not accept NOT VALID before PostgreSQL 18."""
    later = "" if key.partitioned else " not valid"
    yield SqlText(f"alter table {key.sql} add constraint {ident(key.name)} {key.definition()}{later}")
    if key.comment is not None:
        yield SqlText(f"comment on constraint {ident(key.name)} on {key.sql} is {literal(key.comment)}")


def validate_sql(keys: Iterable[ForeignKey]) -> dict[str, list[SqlText]]:
    """Return the SQL that validates them, by the name of the table."""
    made: dict[str, list[SqlText]] = {}
    for key in keys:
        if key.validated and not key.partitioned:
            text = SqlText(f"alter table {key.sql} validate constraint {ident(key.name)}")
            made.setdefault(key.table, []).append(text)
    return made
