"""SQL that removes what a refresh left: shadow tables of a prepare, tables that a rollback put aside, a backup set.

It removes only what the ledger records by OID and what carries the marker of its refresh, never with CASCADE. Names are
those that the ledger's query read; under the locks, the check tests that each still means the recorded object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from runner import sqlfile
from runner.record import dataclass
from runner.refresh import ledger, naming
from runner.refresh.capture import change_capture
from runner.refresh.ledger import Member, Refresh
from runner.refresh.records import Watched
from runner.sqltext import SqlText, ident, literal
from runner.table_name import Named

WORDS = {"table": "table", "view": "view", "matview": "materialized view", "sequence": "sequence"}


class Removal(NamedTuple):
    """The parts of an Exchange: `locks`, a `check` query that must return no row, and the work with the ledger's
    row."""

    locks: SqlText
    check: SqlText
    text: SqlText


@dataclass(frozen=True)
class Table(Named):
    """A table that is locked although it is not removed: a removed foreign key or trigger belongs to it."""

    oid: int
    schema: str
    name: str


def removal(
    refresh: Refresh,
    *,
    ranks: Mapping[int, int] | None = None,
    detach: Iterable[str] = (),
    behind: Sequence[tuple[Refresh, Member]] = (),
    touched: Iterable[Table] = (),
) -> Removal:
    """Return the SQL that removes what the refresh left, and its row of the ledger.

    ranks: OID -> how many views and functions a view or function uses: the highest are dropped first (else the newest).
    detach: statements that separate other objects from tables of the set. behind: views and functions that other
    refreshes left and that depend on it; they are dropped too. touched: other tables that lose a foreign key or a
    trigger.
    """
    gone = members_to_drop(refresh)
    outside = {table.oid: table for table in touched}
    every = [*gone, *(member for _, member in behind)]
    return Removal(
        locks=_locks(gone, outside),
        check=_check(refresh, gone, outside.values(), behind),
        text=_text(refresh, [*detach], _drop_order(every, ranks or {}), change_capture.remove(watched_tables(refresh))),
    )


def side(refresh: Refresh) -> str:
    """Return the side that is not live: the old tables after a swap, the new ones before it and after a rollback."""
    return "old" if refresh.state == "swapped" else "new"


def members_to_drop(refresh: Refresh) -> tuple[Member, ...]:
    """Return the members that still exist and must be dropped by name; indexes and the like are dropped with their
    table."""
    kinds = ("table", "view", "matview", "sequence", "function")
    return tuple(one for one in refresh.side(side(refresh)) if one.there and one.kind in kinds)


def watched_tables(refresh: Refresh) -> tuple[Watched, ...]:
    """Return the tables whose changed keys are recorded for this refresh now.

    Before a swap those are the live ones, after it the new ones for a rollback. A journal is named by the OID of its
    table, so a later refresh may have one of the same name: a removed journal must not be removed again.
    """
    if refresh.state in ("loading", "loaded"):
        return refresh.record.keys
    window = refresh.record.window if refresh.state == "swapped" else None
    return window.tables if window else ()


def shadow_schemas(refresh: Refresh) -> dict[str, int]:
    """Return the schemas that were created for the shadow and are dropped with it, with their OIDs (0 if not
    recorded)."""
    record = refresh.record
    if refresh.state == "swapped":
        return {}
    if refresh.state == "undone":
        return {record.undone: 0}
    derived = {m.now_schema for m in refresh.side("new") if m.now_schema == naming.shadow_schema(m.schema)}
    recorded = {refresh.shadow: record.shadow_oid, **record.shadow_schemas}
    return {name: recorded.get(name, 0) for name in sorted(derived | set(recorded))}


def referenced_tables(rows: Iterable[Mapping[str, Any]], oids: Iterable[int]) -> tuple[Table, ...]:
    """Return the tables outside that foreign keys of these OIDs refer to; rows: of foreign_keys.sql.j2."""
    own = set(oids)
    found = {
        row["ref_oid"]: Table(row["ref_oid"], row["ref_schema"], row["ref_table"])
        for row in rows
        if row["oid"] in own and row["ref_oid"] not in own
    }
    return tuple(found[oid] for oid in sorted(found))


# ------------------------------------------------------------------ the locks


def _locks(gone: Sequence[Member], outside: Mapping[int, Table]) -> SqlText:
    """Return one LOCK TABLE in OID order. It names no view: PostgreSQL would lock all its tables, including live
    ones."""
    own = {m.oid: Table(m.oid, m.now_schema, m.now_name) for m in gone if m.kind == "table"}
    tables = {**own, **outside}
    names = ", ".join(table.full_name.sql for _, table in sorted(tables.items()))
    return SqlText(f"lock table {names} in access exclusive mode" if names else "")


# ------------------------------------------------------------------ the work


def _drop_order(gone: Sequence[Member], ranks: Mapping[int, int]) -> list[Member]:
    """Return the members in drop order: views and functions before what they use, then tables, then unowned
    sequences."""
    last = {"view": 0, "matview": 0, "function": 0, "table": 1, "sequence": 2}
    return sorted(gone, key=lambda m: (last[m.kind], -ranks.get(m.oid, 0), -m.oid))


def _text(refresh: Refresh, detach: Sequence[str], gone: Sequence[Member], journals: str) -> SqlText:
    drops = [_drop(kind, list(members)) for kind, members in groupby(gone, key=lambda member: member.kind)]
    schemas = [f"drop schema if exists {ident(name)} restrict" for name in shadow_schemas(refresh)]
    statements = [journals.strip().rstrip(";"), *detach, *drops, *schemas, ledger.forget(refresh.id)]
    return SqlText("".join(f"{statement};\n" for statement in statements if statement))


def _drop(kind: str, members: Sequence[Member]) -> str:
    names = ", ".join(map(_name, members))
    # a sequence that a table owns was dropped with it
    return f"drop {WORDS.get(kind, kind)} {'if exists ' if kind == 'sequence' else ''}{names} restrict"


def _name(member: Member) -> str:
    name = member.place.sql
    return f"{name}({member.arguments})" if member.kind == "function" else name


# ------------------------------------------------------------------ the check


def _check(
    refresh: Refresh, gone: Sequence[Member], outside: Iterable[Table], behind: Sequence[tuple[Refresh, Member]]
) -> SqlText:
    marker = ledger.marker(refresh.id)
    others = [_row(t.oid, "pg_class", t.schema, t.name, t.schema, t.name, "", marker) for t in outside]
    also = [_check_member(member, ledger.marker(other.id)) for other, member in behind]
    rows = [*(_check_member(member, marker) for member in gone), *also, *others]
    marked, schemas = literal(marker), shadow_schemas(refresh)
    expected = SqlText(",\n        ".join(rows) or _row(0, "pg_class", "", "", "", "", "", ""))
    names, oids = literal(list(schemas)), literal(list(schemas.values()))
    return SqlText(sqlfile.fill(_CHECK, expected=expected, marker=marked, schemas=names, schema_oids=oids))


def _check_member(member: Member, marker: str) -> str:
    aside = member.record.aside or member.place
    names = (member.now_schema, member.now_name, *aside)
    return _row(member.oid, member.catalog, *names, member.kind, marker)


def _row(oid: int, *words: str) -> str:
    return f"({oid}::oid, {', '.join(map(literal, words))})"


_CHECK = "refresh/removal_check.sql"
