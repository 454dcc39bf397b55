"""Prove that the shadow tables equal the source's snapshot, and that preserved tables equal the live tables.

planrun counts the rows and, at level `checksum`, compares their content: a table must read back as the bytes that
filled it. Where that proves nothing (arrays, generated columns), the sums of order-free row hashes must be equal. It
first brings preserved tables up to date, in the same transaction that compares them. It then checks indexes and
constraints, and counts the rows that would violate a foreign key that the swap will create. It does not change anything
live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from runner.errors import PlanrunError
from runner.fates import Fate, Preview
from runner.kinds.base import CatalogReader, Output, Prospect, Render, param
from runner.losses import Good, Protection
from runner.model import UNKNOWN, Action, Check, Compare, Note, Proof, Result
from runner.record import dataclass
from runner.refresh import ledger
from runner.refresh.capture import change_capture
from runner.refresh.catalog.relations import ForeignKey, foreign_key
from runner.refresh.ledger import Member, Refresh
from runner.refresh.records import StreamDigest, Watched
from runner.sqltext import SqlText, ident, idents
from runner.table_name import TableName
from runner.words import PLAN, plural, shown_name

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "tables": Output("array", "The tables that were proved.", fields=("schema", "name", "rows")),
    "count": Output("integer", "How many tables were proved."),
    "rows": Output("integer", "The number of rows in all tables."),
    "level": Output("string", "`counts` or `checksum`."),
}

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Params:
    level: Literal["counts", "checksum"] = param(
        "`counts` compares the numbers of rows; `checksum` also compares their content.", default="checksum"
    )
    schema: str = param("The schema that was loaded; by default, the one loaded last.", default="")
    jobs: int = param("How many tables are compared at the same time.", default=2, minimum=1, maximum=64)
    connection: str = param("The connection to the target.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The loaded refresh; its tables by OID as the catalog has them; foreign keys as the catalog has them."""

    refresh: Refresh
    tables: Mapping[int, Row]
    keys: tuple[ForeignKey, ...]

    @cached_property
    def members(self) -> list[Member]:
        """The new tables to prove; partitions are part of their root."""
        new = (one for one in self.refresh.side("new") if one.kind == "table")
        return [one for one in new if one.oid in self.tables and not self.tables[one.oid]["partition"]]

    @cached_property
    def leaves(self) -> Mapping[int, list[Member]]:
        """By OID of each table that is not a partition, the tables that contain its rows: itself, or its partitions."""
        found: dict[int, list[Member]] = {}
        for one in self.refresh.side("new"):
            if one.oid in self.tables and not self.tables[one.oid]["parts"]:
                found.setdefault(self.tables[one.oid]["root"], []).append(one)
        return found

    @cached_property
    def by_name(self) -> dict[TableName, Member]:
        return {one.full_name: one for one in self.refresh.side("new") if one.kind == "table" and one.there}


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts:
    def ask(text: str) -> list[dict[str, Any]]:
        return reader.rows(text, connection=params.connection)

    mine = [one for one in ledger.read(ask) if one.plan == reader.plan]
    refresh = ledger.find(mine, schema=params.schema, states=("loaded",))
    if refresh is None:
        raise PlanrunError(
            "no shadow tables are loaded", hint="put a step that uses shadow_load before this one", code="PR0806"
        )
    new = [one for one in refresh.side("new") if one.kind == "table"]
    if gone := [str(one.full_name) for one in new if not one.there]:
        raise PlanrunError(
            f"shadow tables are gone: {', '.join(gone)}", hint=f"load again: planrun apply {PLAN}", code="PR0806"
        )
    text = reader.sql(
        "shadow_verify/tables.sql.j2",
        oids=[one.oid for one in new],
        schemas=[one.schema for one in new],
        names=[one.name for one in new],
    )
    tables = {row["oid"]: row for row in ask(text)}
    oids = sorted({*tables, *(row["live"] for row in tables.values() if row["live"])})
    found = ask(reader.sql("catalog/foreign_keys.sql.j2", oids=oids))
    return Facts(refresh=refresh, tables=tables, keys=tuple(map(foreign_key, found)))


# ------------------------------------------------------------------ render: rows


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    watched = {one.oid: one for one in facts.refresh.record.keys if not one.window}
    proofs = tuple(_proof(params, facts, one, watched, sql) for one in facts.members)
    compare = Compare(connection=params.connection, proofs=proofs, jobs=params.jobs)
    return (*_notes(params, facts), *((compare,) if proofs else ()), *_checks(params, facts, sql))


def _is_preserved(facts: Facts, member: Member) -> bool:
    return member.name in facts.refresh.record.preserved


def _notes(params: Params, facts: Facts) -> Iterator[Note]:
    unsummed = [
        str(one.full_name)
        for one in facts.members
        if not _is_preserved(facts, one) and one.record.checksum is None and not _leaves(facts, one)
    ]
    if unsummed and params.level == "checksum":
        yield Note(text=f"only rows are counted, because the load computed no checksum: {', '.join(unsummed)}")


def _proof(params: Params, facts: Facts, one: Member, watched: Mapping[int, Watched], sql: Render) -> Proof:
    return replace(_proof_of(params, facts, one, watched, sql), bytes=int(facts.tables[one.oid]["bytes"]))


def _proof_of(params: Params, facts: Facts, one: Member, watched: Mapping[int, Watched], sql: Render) -> Proof:
    row = facts.tables[one.oid]
    if _is_preserved(facts, one):
        return _as_live(params, one, row, watched, sql)
    if one.name in facts.refresh.record.empty:
        raise PlanrunError(
            f"{one.full_name} was loaded without rows, and no step has copied the live rows",
            hint="put a step that uses shadow_sync before this one",
            code="PR0807",
        )
    if one.record.rows is None:
        raise PlanrunError(
            f"{one.full_name}: the load recorded no count", hint=f"load again: planrun apply {PLAN}", code="PR0806"
        )
    if params.level == "checksum" and (leaves := _leaves(facts, one)):
        return _as_sent(one, leaves)
    checksum = one.record.checksum if params.level == "checksum" else None
    template = "shadow_verify/count.sql.j2" if checksum is None else "refresh/content.sql.j2"
    query = sql(template, schema=one.now_schema, name=one.now_name, parts=row["parts"])
    return Proof(schema=one.schema, name=one.name, query=query, rows=one.record.rows, checksum=checksum)


def _leaves(facts: Facts, one: Member) -> list[tuple[Member, StreamDigest]]:
    """Return what the COPY of a table sent, or of each of its partitions; nothing if one of them is unknown."""
    found = [(leaf, leaf.record.stream) for leaf in facts.leaves.get(one.oid, ())]
    known = [(leaf, stream) for leaf, stream in found if stream]
    return known if len(known) == len(found) else []


def _as_sent(one: Member, leaves: Sequence[tuple[Member, StreamDigest]]) -> Proof:
    """Return the proof of a table that reads back as the bytes that filled it."""
    return Proof(
        schema=one.schema,
        name=one.name,
        copies=tuple(_copy(leaf, stream) for leaf, stream in leaves),
        rows=one.record.rows,
        checksum=" ".join(stream.sha256 for _, stream in leaves),
    )


def _copy(leaf: Member, stream: StreamDigest) -> str:
    columns = f" ({idents(stream.columns)})" if stream.columns else ""
    return f"copy {leaf.place.sql}{columns} to stdout (format {stream.format})"


def _as_live(params: Params, one: Member, row: Row, watched: Mapping[int, Watched], sql: Render) -> Proof:
    """Return the proof of a preserved table: after catching up, it equals the live one in the same snapshot."""
    noted = watched.get(row["live"] or 0)
    if noted is None:
        raise PlanrunError(
            f"{one.full_name} is preserved, and nothing records its changes",
            hint="put a step that uses shadow_sync before this one",
            code="PR0807",
        )
    if params.level == "counts":
        count = "shadow_verify/count.sql.j2"
        query = str(sql(count, schema=one.now_schema, name=one.now_name, parts=row["parts"]))
        other = str(sql(count, schema=noted.schema, name=noted.name, parts=row["live_parts"]))
    else:
        query = _content(one.place.sql, row["parts"], row["columns"], cast=False)
        other = _content(noted.sql, row["live_parts"], row["columns"], cast=True)
    # lock before the snapshot: rows that a TRUNCATE removes after it are missing in older snapshots
    lock = f"lock table {noted.sql} in access share mode"
    first = f"{lock};\n{change_capture.catch_up(noted, one.now_schema, one.now_name)}"
    return Proof(schema=one.schema, name=one.name, query=query, other=other, first=first)


def _content(table: SqlText, parts: bool, columns: Sequence[Row], *, cast: bool) -> SqlText:
    """Return the query that counts rows and checksums these columns; cast: to the types of the other table."""
    listed = ", ".join(
        f"t.{ident(one['name'])}" + (f"::{one['type']}" if cast and not one["same"] else "") for one in columns
    )
    return SqlText(
        "select count(*) as rows,\n"
        f"       coalesce(sum(hashtextextended(row({listed})::text, 0)), 0)::text as checksum\n"
        f"from {'' if parts else 'only '}{table} as t"
    )


# ------------------------------------------------------------------ render: constraints


def _checks(params: Params, facts: Facts, sql: Render) -> Iterator[Check]:
    proved = [one for one in _of_source(facts) if one.validated]
    shadow = facts.by_name
    text = sql(
        "shadow_verify/sound.sql.j2",
        oids=list(facts.tables),
        of=[shadow[one.child].oid for one in proved],
        constraints=[one.name for one in proved],
    )
    yield Check(text=text, connection=params.connection, hint=f"load again: planrun apply {PLAN}")
    # a NOT VALID constraint stays so: it says nothing about existing rows
    if coming := [_orphans(facts, one) for one in (*_missing_foreign_keys(facts), *_outside(facts)) if one.validated]:
        text = sql("refresh/orphans.sql.j2", keys=coming)
        yield Check(text=text, connection=params.connection, hint=_ORPHANS)


_ORPHANS = (
    "the rows of the source do not match the rows that the target keeps: correct the rows, or leave the "
    "table out with `exclude:`"
)


def _of_source(facts: Facts) -> list[ForeignKey]:
    """Return the foreign keys of the source's tables, as the load recorded them."""
    return [one for one in facts.refresh.record.foreign_keys if one.child in facts.by_name]


def _missing_foreign_keys(facts: Facts) -> list[ForeignKey]:
    """Return the foreign keys that the shadow tables do not have yet: the swap creates them."""
    have = {(one.oid, one.name) for one in facts.keys}
    return [one for one in _of_source(facts) if (facts.by_name[one.child].oid, one.name) not in have]


def _outside(facts: Facts) -> list[ForeignKey]:
    """Return the foreign keys of other live tables that refer to a live table of the refresh."""
    live = {row["live"] for row in facts.tables.values()}
    return [one for one in facts.keys if one.ref_oid in live and one.oid not in live]


def _orphans(facts: Facts, one: ForeignKey) -> dict[str, Any]:
    child = _now(facts, one.child)
    parent = _now(facts, one.parent)
    return {
        "name": shown_name("", one.name),
        "child": str(one.child),
        "parent": str(one.parent),
        "schema": child[0],
        "table": child[1],
        "ref_schema": parent[0],
        "ref_table": parent[1],
        "columns": list(one.columns),
        "ref_columns": list(one.ref_columns),
        "full": "MATCH FULL" in one.tail,
    }


def _now(facts: Facts, table: TableName) -> TableName:
    """Return the table with the rows that this table will have after the swap: for a preserved one, the live table."""
    member = facts.by_name.get(table)
    if table.schema == facts.refresh.schema and table.name in facts.refresh.record.preserved:
        return table
    return member.place if member else table


# ------------------------------------------------------------------ preview


def preview(prospect: Prospect) -> Preview | None:
    """Preview what is compared with what, also before anything is loaded."""
    if prospect.params is None:
        return None
    what = "the rows" if prospect.params.level == "counts" else "rows and content"
    coming = next(prospect.before("shadow_load"), None)
    if coming:
        keeps = [one.fate is Fate.KEPT for one in coming.coming if one.kind == "table"]
    elif prospect.facts:
        keeps = [_is_preserved(prospect.facts, one) for one in prospect.facts.members]
    else:
        return None
    return Preview(lines=tuple(_preview_lines(what, keeps.count(False), keeps.count(True))))


def _preview_lines(what: str, of_source: int, kept: int) -> Iterator[str]:
    if of_source:
        yield f"compares {what} of {plural(of_source, 'new table')} with the source"
    if kept:
        yield f"compares {what} of {plural(kept, 'table')} with the live ones"
    yield "checks the constraints, and the foreign keys that the swap will create"


# ------------------------------------------------------------------ give


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    done = next((one for one in results if one and "tables" in one), None)
    if done is None and facts.members:
        return dict.fromkeys(OUTPUTS, UNKNOWN) | {"level": params.level, "count": len(facts.members)}
    found = done or {"tables": [], "count": 0, "rows": 0}
    return {name: found[name] for name in OUTPUTS if name != "level"} | {"level": params.level}


def protects(given: Mapping[str, Any]) -> tuple[Protection, ...]:
    place = given.get("connection", "")
    return tuple(Protection(good=good, place=place, whole=True) for good in (Good.LIVE, Good.SETS))
