"""The first phase of a load: read what the source's snapshot contains, and check that the target has what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from runner import tools
from runner.backup import needs
from runner.backup.snapshot import Snapshot
from runner.errors import TargetError
from runner.refresh.catalog import refusals, requirements
from runner.refresh.catalog.refusals import Refusal
from runner.refresh.catalog.relations import ForeignKey, foreign_key
from runner.shadow import foreign_keys, structure
from runner.shadow.load_context import LoadContext, Row
from runner.table_name import TableName

_READING = "reading the structure of the source"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The tables of the source as they are in the snapshot.

    facts: rows of source.sql.j2, one for each table and partition, in the order of their creation. made: the
    SQL that creates them in the shadow schema. keys: their foreign keys. shape: rows of shape.sql.j2, which the new
    tables must equal. shared: sequences that they use and none of them owns. same_major: the target has the same
    major version of PostgreSQL.
    """

    facts: Sequence[Row]
    made: structure.Structure
    keys: Sequence[ForeignKey]
    shape: Sequence[Row]
    shared: Sequence[TableName]
    same_major: bool

    @cached_property
    def leaves_of(self) -> Mapping[str, list[Row]]:
        """The tables that contain the rows of each root: itself, or its partitions."""
        found: dict[str, list[Row]] = {row["name"]: [] for row in self.roots}
        for row in self.leaves:
            found[row["top"]].append(row)
        return found

    @cached_property
    def names(self) -> list[str]:
        """The tables and partitions."""
        return [row["name"] for row in self.facts]

    @cached_property
    def roots(self) -> list[Row]:
        """The tables that are no partition, the biggest first."""
        return sorted((row for row in self.facts if row["root"]), key=lambda row: -int(row["bytes"]))

    @cached_property
    def leaves(self) -> list[Row]:
        """The tables that contain rows themselves, the biggest first."""
        return sorted((row for row in self.facts if row["leaf"]), key=lambda row: -int(row["bytes"]))


def query(load: LoadContext) -> str:
    """Return the query for the facts, to run in the snapshot."""
    return load.sql("source", schema=load.schema, names=[table.name for table in load.action.tables])


def read(load: LoadContext, snapshot: Snapshot) -> Source:
    """Read the source. Raises TargetError for tables that are gone and for what the target lacks or does not accept."""
    facts = sorted(snapshot.facts.values(), key=lambda row: int(row["oid"]))
    shared = _check(load, snapshot, facts)
    made = _dump_structure(load, snapshot, facts)
    keys = _read_foreign_keys(load, snapshot, facts)
    shape = snapshot.ask(shape_query(load, load.schema, [row["name"] for row in facts]), _READING)
    same_major = snapshot.major == load.conn.info.server_version // 10000
    return Source(facts=facts, made=made, keys=keys, shape=shape, shared=shared, same_major=same_major)


def shape_query(load: LoadContext, schema: str, names: Sequence[str]) -> str:
    """Return the query of shape.sql.j2 for tables of a schema, under their live names."""
    return load.sql("shape", schema=schema, instead=load.schema, also=load.shadow, names=list(names))


def _check(load: LoadContext, snapshot: Snapshot, facts: Sequence[Row]) -> list[TableName]:
    """Raise TargetError when a table is gone, or when the target lacks what the tables need; return `shared`."""
    here = {row["name"] for row in facts if row["root"]}
    if gone := [one.name for one in load.action.tables if one.name not in here]:
        raise TargetError(f"no longer in the source: {', '.join(sorted(gone))}", hint="run again", code="PR0813")
    own = {TableName.of(row) for row in facts}
    required = requirements.required_rows(
        snapshot.ask(needs.query(sorted(own)), "looking for the objects that the tables need"), own
    )
    text = load.sql("things", **requirements.values(required))
    there = snapshot.ask(text, "reading the objects that the tables need")
    shared = [TableName.of(row) for row in required if row["kind"] == "sequence"]
    refusals.refuse([*requirements.missing_things(required, there, load.ask(text)), *_unsettable(load, shared)])
    return shared


def _unsettable(load: LoadContext, shared: Sequence[TableName]) -> Iterator[Refusal]:
    """Yield the sequences that no loaded table owns and that this role may not set to the source's position."""
    schemas, names = [schema for schema, _ in shared], [name for _, name in shared]
    rows = load.ask(load.sql("unsettable", schemas=schemas, names=names))
    for row in rows:
        name = str(TableName.of(row))
        way = f"its owner runs: grant update on sequence {name} to the role that connects"
        yield Refusal(what=f"sequence {name}", reason="no right to set it (UPDATE)", way=way)


def _dump_structure(load: LoadContext, snapshot: Snapshot, facts: Sequence[Row]) -> structure.Structure:
    load.say("structure")
    names = [TableName.of(row) for row in facts]
    others = snapshot.ask(load.sql("others", names=[str(one.name) for one in names], schema=load.schema), _READING)
    words = load.connections.words(load.action.source)
    with tools.access(words, load.connections.env, snapshot.encoding) as door:
        text = structure.dump(
            load.action.pg_dump, names, [TableName.of(row) for row in others], snapshot.id, door, load.cancel
        )
    return structure.sort_out(text, facts, load.schema, load.shadow)


def _read_foreign_keys(load: LoadContext, snapshot: Snapshot, facts: Sequence[Row]) -> list[ForeignKey]:
    own = {int(row["oid"]) for row in facts}
    text = load.templates.sql("catalog/foreign_keys.sql.j2", oids=sorted(own))
    keys = [foreign_key(row) for row in snapshot.ask(text, "reading foreign keys") if row["oid"] in own]
    if wrong := foreign_keys.refusals(keys):
        raise TargetError(
            "; ".join(wrong), hint="exclude the table, or drop the foreign key in the source", code="PR0801"
        )
    return keys
