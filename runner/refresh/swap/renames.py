"""Rename relations: the name of each before and after, with its indexes and sequences, and the ALTER statements.

SET SCHEMA also moves indexes and owned sequences, but no statistics objects. RENAME changes only the relation itself.
ALTER INDEX RENAME takes SHARE UPDATE EXCLUSIVE on the index alone, also of a constraint, and ALTER STATISTICS no lock
on a relation: both go before the locks on live tables, in the same transaction, so nobody sees them before its COMMIT.
Sources: PostgreSQL docs, ALTER TABLE (SET SCHEMA), ALTER INDEX, ALTER STATISTICS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from runner.errors import PlanrunError
from runner.record import dataclass
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
    """How one relation gets from its current name to (schema, name).

    waits: for an entering relation that changes its schema before the locks and waits there until the leaving ones have
    other names: the temporary names of it and its parts, by OID, where they are not the final ones. None: it does
    not wait, and changes its schema under the locks.
    """

    relation: Relation
    schema: str
    name: str
    parts: tuple[Part, ...] = ()
    waits: Mapping[int, str] | None = None

    @property
    def to(self) -> SqlText:
        return self.full_name.sql

    def sequence(self, row: Row) -> SqlText:
        """Return the final name of a sequence of the relation."""
        return qualified(self.schema, next(part.to for part in self.parts if part.oid == row["oid"]))

    def sequence_before(self, row: Row) -> SqlText:
        """Return the name of a sequence of an entering relation after the leaving one has been renamed."""
        if self.waits is None:
            return TableName.of(row).sql
        return qualified(self.schema, self.waits.get(row["oid"], row["name"]))


def out(relation: Relation, schema: str, wanted: Callable[[str], str], taken: Taken) -> Move:
    """Return the move of a leaving relation to a schema; `wanted` returns the name that an object should get there."""

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
    """Raise PlanrunError if an entering object would get a name that another object keeps."""
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
            hint="rename the objects that have these names, or the index or sequence in the source",
            code="PR0809",
        )


def _own(move: Move) -> set[str]:
    return {move.relation.name, *(part.name for part in move.parts)}


# ------------------------------------------------------------------ the statements


_LOCK_FREE = ("index", "statistics")
"""The kinds of parts whose rename blocks nobody; that of a sequence blocks nextval()."""


def leave_before(move: Move) -> Iterator[str]:
    """Yield the renames of parts of a leaving relation that take no lock on the relation."""
    yield from _rename_parts((part for part in move.parts if part.kind in _LOCK_FREE), move.relation.schema)
    yield from _move_statistics(move)


def leave(move: Move) -> Iterator[str]:
    """Yield the renames, then SET SCHEMA: the names are known to be free in both schemas."""
    it = move.relation
    yield from _rename_parts((part for part in move.parts if part.kind not in _LOCK_FREE), it.schema)
    if move.name != it.name:
        yield f"alter {it.word} {it.sql} rename to {ident(move.name)}"
    if move.schema != it.schema:
        yield f"alter {it.word} {qualified(it.schema, move.name)} set schema {ident(move.schema)}"


def wait(move: Move, held: Collection[TableName], taken: Taken) -> Move:
    """Return an entering move that waits in its new schema; `held` are the names that leaving relations still have
    then."""
    used = taken.setdefault(move.schema, set()) | _own(move)
    names = {}
    it = move.relation
    for oid, now, name in ((it.oid, it.name, move.name), *((p.oid, p.name, p.to) for p in _lockable(move))):
        if now != name or TableName(move.schema, name) in held:
            names[oid] = naming.fit(_WAITS + name, used)
            used.add(names[oid])
            taken[move.schema].add(names[oid])
    return replace(move, waits=names)


_WAITS = "planrun_entering_"


def _lockable(move: Move) -> Iterator[Part]:
    return (part for part in move.parts if part.kind != "statistics")


def enter_before(move: Move) -> Iterator[str]:
    """Yield the statements that move a waiting relation to the schema; no one sees it there before the COMMIT."""
    if move.waits is None:
        return
    it = move.relation
    for oid, kind, name in ((it.oid, it.word, it.name), *((p.oid, p.kind, p.name) for p in _lockable(move))):
        if oid in move.waits:
            yield f"alter {kind} {qualified(it.schema, name)} rename to {ident(move.waits[oid])}"
    yield f"alter {it.word} {qualified(it.schema, move.waits.get(it.oid, it.name))} set schema {ident(move.schema)}"
    yield from _move_statistics(move)


def enter(move: Move) -> Iterator[str]:
    """Yield SET SCHEMA, then the renames: in its present schema, another object may have the live name."""
    if move.waits is not None:
        yield from _take_names(move, move.waits)
        return
    it = move.relation
    if move.schema != it.schema:
        yield f"alter {it.word} {it.sql} set schema {ident(move.schema)}"
    if move.name != it.name:
        yield f"alter {it.word} {qualified(move.schema, it.name)} rename to {ident(move.name)}"
    yield from _rename_parts(move.parts, move.schema)
    yield from _move_statistics(move)


def _take_names(move: Move, waits: Mapping[int, str]) -> Iterator[str]:
    """Yield the renames of a relation that waited."""
    it = move.relation
    for oid, kind, name in ((it.oid, it.word, move.name), *((p.oid, p.kind, p.to) for p in _lockable(move))):
        if oid in waits:
            yield f"alter {kind} {qualified(move.schema, waits[oid])} rename to {ident(name)}"


def _rename_parts(parts: Iterable[Part], schema: str) -> Iterator[str]:
    for part in parts:
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


def sequence_values(leaving: Move, entering: Move, pairs: Iterable[tuple[Row, Row]]) -> Iterator[str]:
    """Set each entering sequence to the old or the new value, whichever is ahead, so no number is issued twice.

    Run it after the old sequences are put aside and before the new ones get their names.
    """
    for old, new in pairs:
        ahead = "<" if new["descending"] else ">"
        to = entering.sequence_before(new)
        yield (
            f"select pg_catalog.setval({literal(to)}::pg_catalog.regclass, o.last_value, o.is_called) "
            f"from {leaving.sequence(old)} as o, {to} as n where o.last_value {ahead} n.last_value "
            "or o.last_value = n.last_value and o.is_called and not n.is_called"
        )
