"""Summarize a refresh for people and for JSON: how many tables, rows and bytes, since when, by which run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.record import dataclass
from runner.refresh.ledger import Member, Refresh
from runner.refresh.removal import removal_sql
from runner.words import plural, seconds, shown_name, size

_WHAT = {"loading": "unfinished shadow", "loaded": "shadow set", "swapped": "backup set", "undone": "undone set"}
_DAY = 86400


@dataclass(frozen=True, kw_only=True)
class SetSummary:
    """The side of a refresh that is not live. rows: the recorded number, None if there is none; exact: whether it was
    counted."""

    what: str
    id: str
    plan: str
    schema: str
    state: str
    since: datetime
    tables: int
    rows: int | None
    exact: bool
    bytes: int
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The current state of a refresh in the database of a connection.

    waiting: the number of keys in the sync journals; None if there is none, or if this role may not read them.
    """

    connection: str
    refresh: Refresh
    summary: SetSummary
    waiting: int | None = None


def summarize(refresh: Refresh, facts: Sequence[Mapping[str, Any]] = ()) -> SetSummary:
    """Return the summary. facts: rows of facts.sql.j2, for tables without a recorded count and to recognise
    partitions."""
    members = [one for one in refresh.side(removal_sql.side(refresh)) if one.relation]
    known = {row["oid"]: row for row in facts}
    there = [one for one in members if one.kind == "table" and one.there]
    tables = [one for one in there if not known.get(one.oid, {}).get("partition")]
    counts = [one.record.rows for one in tables if one.record.rows is not None]
    exact = len(counts) == len(tables)
    return SetSummary(
        what=_WHAT[refresh.state],
        id=refresh.id,
        plan=refresh.plan,
        schema=refresh.schema,
        state=refresh.state,
        since=refresh.swapped or refresh.made,
        tables=len(tables),
        rows=sum(counts) if exact else _estimate(there, known),
        exact=exact,
        bytes=sum(one.bytes for one in members),
        missing=tuple(str(one.full_name) for one in members if not one.there),
    )


def _estimate(tables: Sequence[Member], known: Mapping[int, Mapping[str, Any]]) -> int | None:
    """Return an estimate of the rows, from the tables that contain rows: partitions, not their partitioned table."""
    found = [known.get(one.oid, {}).get("estimate") for one in tables]
    counts = [int(count) for count in found if count is not None]
    return sum(counts) if counts else None


def headline(one: SetSummary, now: datetime) -> str:
    """Return `backup set of schema public: 3 tables, 12 rows, 3 MB, made 2 h 5 min ago by run X of plan prod`."""
    rows = "" if one.rows is None else f", {'' if one.exact else 'about '}{plural(one.rows, 'row')}"
    made = f"made {age((now - one.since).total_seconds())} ago by run {one.id} of plan {shown_name('', one.plan)}"
    counts = f"{plural(one.tables, 'table')}{rows}, {size(one.bytes)}"
    return f"{one.what} of schema {shown_name('', one.schema)}: {counts}, {made}"


def age(amount: float) -> str:
    """Return a time span, in days when it is long: 45 min 0 s, 30 h 5 min, 12 days."""
    return plural(int(amount // _DAY), "day") if amount >= 2 * _DAY else seconds(max(amount, 0))


def as_json(one: SetSummary) -> dict[str, Any]:
    return {
        "id": one.id, "what": one.what, "state": one.state, "plan": one.plan, "schema": one.schema,
        "since": one.since.isoformat(), "tables": one.tables, "rows": one.rows, "rows_exact": one.exact,
        "bytes": one.bytes, "missing": list(one.missing),
    }  # fmt: skip
