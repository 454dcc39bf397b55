"""The state of the scratch copies at one moment: their catalogs, their rows as sums, and what planrun keeps there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner import sqlfile
from runner.cancel import Cancel
from runner.catalog_difference import Catalog, difference
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import DeadlineConnection, cancellable
from runner.errors import TargetError
from runner.rehearsal_result import Differences
from runner.sqltext import SqlText, literal
from runner.table_name import TableName

_LEDGER = "select pg_catalog.to_regclass('planrun.member') is not null as there"
_SUM = "select count(*)::text || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0)::text as sum from only {} as t"
_STATES = {
    "loading": "shadow tables that are not whole",
    "loaded": "shadow tables",
    "swapped": "backup set",
    "undone": "tables of a swap that was undone",
}


@dataclass(frozen=True, kw_only=True)
class State:
    """One database. rows: number and sum of each table's rows, None where they are not compared. own: in words."""

    catalog: Catalog
    rows: Mapping[str, str] | None
    own: tuple[str, ...]


def read(connections: Connections, names: Sequence[str], *, rows: bool, cancel: Cancel) -> dict[str, State]:
    """Return the state of each copy, by the name of its connection. rows: sum the rows of every table up, too."""
    found = {}
    for name in names:
        with _reader(connections, name, cancel) as conn:
            found[name] = _state(conn, rows)
    return found


@contextlib.contextmanager
def _reader(connections: Connections, name: str, cancel: Cancel) -> Iterator[DeadlineConnection]:
    with (
        contextlib.closing(connections.open(name, statement_timeout="0")) as conn,
        cancellable(conn, cancel),
        translate_errors("looking at the scratch copy"),
    ):
        yield conn


def _state(conn: DeadlineConnection, rows: bool) -> State:
    own = conn.execute(sqlfile.read("scratch/own.sql")).fetchall() if _has_ledger(conn) else []
    oids = literal([row["oid"] for row in own])
    catalog = Catalog.of(conn.execute(sqlfile.fill("catalog/objects.sql", own=oids)).fetchall())
    sets: dict[tuple[str, str], list[str]] = {}
    for row in own:
        if row["kind"] in ("table", "view", "matview") and row["name"]:
            sets.setdefault((row["id"], row["state"]), []).append(row["name"])
    told = [f"{_STATES[state]} {one} ({_some(names)})" for (one, state), names in sets.items()]
    return State(catalog=catalog, rows=_sums(conn, oids) if rows else None, own=tuple(told))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


_FEW = 5
"""Names of relations of a set that are told."""


def _has_ledger(conn: DeadlineConnection) -> bool:
    return bool(conn.execute(_LEDGER).fetchall()[0]["there"])


def _sums(conn: DeadlineConnection, own: SqlText) -> dict[str, str]:
    found = {}
    for row in conn.execute(sqlfile.fill("scratch/tables_with_rows.sql", own=own)).fetchall():
        name = TableName.of(row)
        try:
            with translate_errors():
                found[str(name)] = str(conn.execute(_SUM.format(name.sql).encode()).fetchall()[0]["sum"])
        except TargetError as exc:
            found[str(name)] = exc.message
    return found


def differences(before: Mapping[str, State], after: Mapping[str, State]) -> Differences:
    """Return what is other than before, without what planrun keeps, which is told apart."""
    return Differences(
        catalogs={name: difference(before[name].catalog, after[name].catalog) for name in before},
        rows=_rows(before, after),
        own=tuple(_own(before, after)),
    )


def _own(before: Mapping[str, State], after: Mapping[str, State]) -> Iterator[str]:
    for name, now in after.items():
        yield from (f"no longer here: {line}" for line in before[name].own if line not in now.own)
        yield from now.own


def _rows(before: Mapping[str, State], after: Mapping[str, State]) -> tuple[str, ...] | None:
    """Return the tables that are in both with other rows; what became of the others is in the catalogs."""
    found = list[str]()
    for name, old in before.items():
        if old.rows is None or (new := after[name].rows) is None:
            return None
        found += [table for table, sum in old.rows.items() if table in new and new[table] != sum]
    return tuple(found)
