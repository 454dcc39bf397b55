"""The rollback window: after the swap, triggers record changed keys of the new tables; a rollback loses no write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from runner.errors import PlanrunError
from runner.refresh.capture import change_capture
from runner.refresh.catalog.facts import Catalog
from runner.refresh.records import Key, Watched, Window
from runner.refresh.swap.swap_sql import Pair
from runner.table_name import TableName
from runner.words import shown_name


def window_tables(catalog: Catalog, refresh: str, pairs: Iterable[Pair]) -> tuple[Watched, ...]:
    """Return the entering tables by their current names. Raises PlanrunError for those whose changes cannot be
    captured."""
    both = {pair.entering.relation.full_name: pair for pair in _tables(pairs) if pair.entering}
    rows = catalog.rows(
        "refresh/watchable_tables.sql.j2",
        schemas=[schema for schema, _ in both],
        names=[name for _, name in both],
        shadows=[pair.leaving.relation.oid if pair.leaving else 0 for pair in both.values()],
        strict=False,
    )
    if wrong := [_wrong(both[TableName.of(row)], row) for row in rows if row["reason"]]:
        raise PlanrunError(
            f"rollback_window cannot be kept: {'; '.join(wrong)}",
            hint="give them a key, or remove `rollback_window`",
            code="PR0817",
        )
    return tuple(_watched_table(refresh, row) for row in rows)


def lost_column_lines(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yield a line for each table with columns whose values a rollback would lose, because the old table lacks them."""
    for pair in _tables(pairs):
        if pair.leaving and pair.entering:
            old = {column["name"] for column in pair.leaving.relation.columns}
            new = [column["name"] for column in pair.entering.relation.columns if column["name"] not in old]
            if new:
                names = ", ".join(shown_name("", name) for name in new)
                yield f"{pair.full_name}: a rollback would lose the new {_columns(new)} behind: {names}"


def _columns(names: list[str]) -> str:
    return "column" if len(names) == 1 else "columns"


def _tables(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Yield the pairs of whole tables; partitions are part of theirs."""
    for pair in pairs:
        if pair.leaving and pair.entering and pair.entering.relation.is_table and not pair.entering.relation.partition:
            yield pair


def _wrong(pair: Pair, row: dict[str, Any]) -> str:
    return f"{pair.full_name} {row['reason']}"


def _watched_table(refresh: str, row: dict[str, Any]) -> Watched:
    return Watched(
        refresh=refresh,
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        key=tuple(Key(*one) for one in row["key"]),
        columns=tuple(row["columns"]),
        truncate_on=tuple(TableName(*one) for one in row["truncate_on"]),
        window=True,
    )


def until(now: datetime, seconds: float) -> str:
    return (now + timedelta(seconds=seconds)).isoformat()


def install(window: tuple[Watched, ...], refresh: str, end: str) -> str:
    """Return the SQL that installs the change capture; it runs before the tables get their live names."""
    return f"{change_capture.install(window, refresh, end)};\n" if window else ""


def window_record(window: tuple[Watched, ...], pairs: Iterable[Pair], end: str) -> Window | None:
    """Return the record for the ledger, with the tables by their live names."""
    live = {p.entering.relation.oid: p.full_name for p in pairs if p.entering}
    named = (replace(one, schema=live[one.oid][0], name=live[one.oid][1], truncate_on=()) for one in window)
    return Window(until=end, tables=tuple(named)) if window else None
