"""The last phase of a load: record in the ledger what was created, which makes it ready for the swap."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from runner.database.connections import translate_errors
from runner.refresh import ledger
from runner.refresh.ledger import Member
from runner.refresh.records import MemberRecord, SequencePosition
from runner.shadow import structure
from runner.shadow.load_context import LoadContext, Row
from runner.shadow.rows import Rows
from runner.shadow.source import Source
from runner.sqltext import SqlText


def live_tables(load: LoadContext) -> set[str]:
    """Return the tables of the live schema, partitions too."""
    rows = load.ask(load.sql("sizes", schema=load.schema))
    return {row["name"] for row in rows if row["kind"] != "m"}


def live_structure(load: LoadContext) -> dict[str, str]:
    """Return a hash of each part of the live tables, which the swap compares with the state at that time."""
    names = [table.name for table in load.action.tables]
    rows = load.ask(load.templates.sql("catalog/structure_of.sql.j2", schema=load.schema, names=names))
    return {row["what"]: row["hash"] for row in rows}


def record(
    load: LoadContext,
    source: Source,
    rows: Rows,
    *,
    positions: Sequence[SequencePosition],
    live: Collection[str],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Record the load as done; return the result of the Load. live, hashes: as they were at the beginning of the
    load."""
    note = _note(load, source, rows, positions, live, hashes)
    roots = rows.of_roots(source)
    with translate_errors("recording"), load.transaction():
        found = load.conn.execute(load.sql("members", shadow=load.shadow)).fetchall()
        load.conn.execute(ledger.add_members(load.refresh.id, _members(load, rows, roots, found)))
        load.conn.execute(note)
        load.conn.execute(ledger.set_state(load.refresh.id, "loaded"))
    tables = [{"schema": load.schema, "name": name, "rows": count} for name, count in roots.items()]
    given = {"set": load.refresh.id, "schema": load.schema, "tables": tables, "count": len(tables)}
    measures = rows.measures(source, load.schema)
    return {**given, "rows": sum(roots.values()), "bytes": _size(load), "measures": measures}


def _note(
    load: LoadContext,
    source: Source,
    rows: Rows,
    positions: Sequence[SequencePosition],
    live: Collection[str],
    hashes: Mapping[str, str],
) -> SqlText:
    roles = {row["rolname"] for row in load.ask("select rolname::text from pg_catalog.pg_roles")}
    new = {name for row in source.facts for name in (row["name"], *row["sequences"]) if row["name"] not in live}
    return ledger.note(
        load.refresh.id,
        foreign_keys=tuple(source.keys),
        structure=hashes,
        xids=tuple(rows.xids),
        trigger_states={row["name"]: row["triggers"] for row in source.facts if row["triggers"]},
        rule_states={row["name"]: row["rules"] for row in source.facts if row["rules"]},
        sequences=tuple(positions),
        columns=_columns(load),
        new_protection=tuple(structure.protection(source.made, new, roles)),
        empty=tuple(sorted(load.empty)),
    )


def _columns(load: LoadContext) -> dict[str, tuple[str, ...]]:
    """Return the columns of the new tables, so that a rollback can recognise columns that were added after the swap."""
    rows = load.ask(load.sql("columns", schema=load.shadow))
    return {row["name"]: tuple(row["columns"]) for row in rows}


def _members(load: LoadContext, rows: Rows, roots: dict[str, int], found: Sequence[Row]) -> Iterator[Member]:
    counts = rows.counts | roots
    for row in found:
        if row["kind"] in ("table", "sequence"):
            name = row["name"]
            counted = row["kind"] == "table" and name not in load.empty
            known = MemberRecord(
                rows=counts.get(name) if counted else None,
                checksum=rows.sums.get(name),
                stream=rows.streams.get(name),
            )
            given = {k: row[k] for k in ("catalog", "oid", "kind", "name")}
            yield Member(side="new", schema=load.schema, record=known, **given)


def _size(load: LoadContext) -> int:
    """Return the bytes of the new relations."""
    rows = load.ask(load.sql("sizes", schema=load.shadow))
    return sum(int(row["bytes"]) for row in rows)
