"""Rename relations: the name of each before and after, with its indexes and sequences, and the ALTER statements.

Indexes and owned sequences go along with SET SCHEMA; statistics objects do not. A rename takes nothing along.
Sources: PostgreSQL docs, ALTER TABLE (SET SCHEMA), ALTER STATISTICS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from runner.errors import PlanrunError
from runner.refresh import naming
from runner.refresh.catalog.relations import Relation, Row
from runner.refresh.records import SequencePosition
from runner.sqltext import SqlText, ident, literal, qualified
from runner.table_name import Named, TableName
from runner.words import shown_name

Taken = dict[str, set[str]]
"""The names in use, by schema. Names that are chosen are added."""


@dataclass(frozen=True, kw_only=True)
class Part(Named):
    """An index, a sequence or a statistics object of a relation; `to` is its name afterwards."""

    kind: str
    oid: int
    schema: str
    name: str
    to: str

    @property
    def catalog(self) -> str:
        return "pg_statistic_ext" if self.kind == "statistics" else "pg_class"


@dataclass(frozen=True, kw_only=True)
class Move(Named):
    """One relation's way from what it is called now to (schema, name)."""

    relation: Relation
    schema: str
    name: str
    parts: tuple[Part, ...] = ()

    @property
    def to(self) -> SqlText:
        return self.full_name.sql

    def sequence(self, row: Row) -> SqlText:
        """Return what a sequence of the relation is called afterwards."""
        return qualified(self.schema, next(part.to for part in self.parts if part.oid == row["oid"]))


def out(relation: Relation, schema: str, wanted: Callable[[str], str], taken: Taken) -> Move:
    """Return the move of a leaving relation to a schema; `wanted` gives the name that something should get there."""

    def free(name: str) -> str:
        found = naming.fit(wanted(name), taken.setdefault(schema, set()))
        taken[schema].add(found)
        return found

    name = free(relation.name)
    return Move(relation=relation, schema=schema, name=name, parts=tuple(_parts(relation, free)))


def back(relation: Relation, schema: str, name: str, names: Mapping[int, str]) -> Move:
    """Return the move of an entering relation to its live name. names: those of its parts by OID, when they differ."""

    def live(part: Row) -> str:
        return names.get(part["oid"], part["name"])

    parts = [Part(kind=k, oid=p["oid"], schema=s, name=p["name"], to=live(p)) for k, s, p in _belongings(relation)]
    return Move(relation=relation, schema=schema, name=name, parts=tuple(parts))


def _parts(relation: Relation, free: Callable[[str], str]) -> Iterator[Part]:
    for kind, schema, row in _belongings(relation):
        yield Part(kind=kind, oid=row["oid"], schema=schema, name=row["name"], to=free(row["name"]))


def _belongings(relation: Relation) -> Iterator[tuple[str, str, Row]]:
    yield from (("index", relation.schema, row) for row in relation.indexes)
    yield from (("sequence", row["schema"], row) for row in relation.sequences)
    yield from (("statistics", row["schema"], row) for row in relation.statistics)


def refuse_collisions(entering: Iterable[Move], leaving: Iterable[Move], taken: Taken) -> None:
    """Raise PlanrunError when a name that something enters under belongs to what stays."""
    free = {part.full_name for move in leaving for part in move.parts}
    free |= {move.relation.full_name for move in leaving}
    in_way = []
    for move in entering:
        for name in (move.name, *(part.to for part in move.parts)):
            if move.schema == move.relation.schema and name in _own(move):
                continue
            if name in taken.get(move.schema, ()) and (move.schema, name) not in free:
                in_way.append(f"{shown_name(move.schema, name)} (for {move.relation})")
    if in_way:
        raise PlanrunError(
            f"names of the new tables are already in use: {', '.join(sorted(in_way))}",
            hint="rename what is in the way, or the index or sequence in the source",
            code="PR0809",
        )


def _own(move: Move) -> set[str]:
    return {move.relation.name, *(part.name for part in move.parts)}


# ------------------------------------------------------------------ the statements


def leave(move: Move) -> Iterator[str]:
    """Rename first: the names are known to be free where it is and where it goes."""
    it = move.relation
    yield from _rename_parts(move, it.schema)
    if move.name != it.name:
        yield f"alter {it.word} {it.sql} rename to {ident(move.name)}"
    if move.schema != it.schema:
        yield f"alter {it.word} {qualified(it.schema, move.name)} set schema {ident(move.schema)}"
    yield from _move_statistics(move)


def enter(move: Move) -> Iterator[str]:
    """Change the schema first: where it is, its live name may be another's."""
    it = move.relation
    if move.schema != it.schema:
        yield f"alter {it.word} {it.sql} set schema {ident(move.schema)}"
    if move.name != it.name:
        yield f"alter {it.word} {qualified(move.schema, it.name)} rename to {ident(move.name)}"
    yield from _rename_parts(move, move.schema)
    yield from _move_statistics(move)


def _rename_parts(move: Move, schema: str) -> Iterator[str]:
    for part in move.parts:
        where = part.schema if part.kind == "statistics" else schema
        if part.name != part.to:
            yield f"alter {part.kind} {qualified(where, part.name)} rename to {ident(part.to)}"


def _move_statistics(move: Move) -> Iterator[str]:
    for part in move.parts:
        if part.kind == "statistics" and part.schema != move.schema:
            yield f"alter statistics {qualified(part.schema, part.to)} set schema {ident(move.schema)}"


def advance_sequence(sequence: SequencePosition) -> str:
    """Return the SQL that advances a sequence without a replaced table to the source's value; it never goes back."""
    it, called = sequence.full_name.sql, sequence.is_called
    last = f"({sequence.last_value})::pg_catalog.int8"
    return (
        f"select pg_catalog.setval({literal(it)}::pg_catalog.regclass, {last}, {called}) from {it} as s, "
        f"pg_catalog.pg_sequence as q where q.seqrelid = {literal(it)}::pg_catalog.regclass and "
        f"(case when q.seqincrement < 0 then {last} < s.last_value else {last} > s.last_value end"
        f" or {last} = s.last_value and {called} and not s.is_called)"
    )


def sequence_values(leaving: Move, pairs: Iterable[tuple[Row, Row]]) -> Iterator[str]:
    """Set each entering sequence to the old or the new value, whichever is ahead, so no number is issued twice.

    To be run after the old sequences have left and the new ones have taken their places.
    """
    for old, new in pairs:
        order = "asc" if new["descending"] else "desc"
        to = TableName.of(new).sql
        yield (
            f"select pg_catalog.setval({literal(to)}::pg_catalog.regclass, s.last_value, s.is_called) from ("
            f"select last_value, is_called from {leaving.sequence(old)} union all "
            f"select last_value, is_called from {to}) as s order by s.last_value {order}, s.is_called desc limit 1"
        )
