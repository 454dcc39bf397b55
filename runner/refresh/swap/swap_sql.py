"""The SQL that swaps relations: leaving ones are put aside, entering ones take their names.

It is the same for a swap and for a rollback: only the leaving and entering relations and their targets differ. All is
decided from catalog rows before any lock; nothing is looked up under the locks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import Any

from runner.errors import StaleError
from runner.model import Sql
from runner.record import dataclass
from runner.refresh import ledger, naming
from runner.refresh.catalog import dependents
from runner.refresh.catalog.dependents import Dependents, Function
from runner.refresh.catalog.relations import ForeignKey, Relation, Row
from runner.refresh.ledger import Member, Refresh
from runner.refresh.records import MemberRecord
from runner.refresh.swap import carried_properties, renames
from runner.refresh.swap.renames import Move
from runner.sqltext import ident, literal
from runner.table_name import Named, TableName
from runner.words import PLAN, shown_name

NOT_VALID_ON_PARTITIONED = 18
"""The first major in which ADD FOREIGN KEY ... NOT VALID takes a partitioned table."""


@dataclass(frozen=True, kw_only=True)
class Pair(Named):
    """Two relations of one live name; one may be missing, for a new table or one that is not replaced."""

    schema: str
    name: str
    leaving: Move | None = None
    entering: Move | None = None


@dataclass(frozen=True, kw_only=True)
class SwapScope:
    """What one exchange works on.

    keys: foreign keys from and to the relations that leave or enter. wanted: those that the entering relations should
    have. oids: of other tables, by name. inner: also drop the foreign keys that leaving tables have
    among themselves, so that single rows can be written to them later. states, rule_states: how triggers and rules
    are enabled, by live table and name. removed: SQL that drops planrun's triggers and journals of leaving tables.
    grants: on functions that are created again, by their OID. returning: SQL that gives functions of the set their live
    names again, before the tables have theirs.
    """

    refresh: Refresh
    pairs: tuple[Pair, ...]
    keys: tuple[ForeignKey, ...]
    wanted: tuple[ForeignKey, ...]
    dependents: Dependents
    major: int
    oids: Mapping[TableName, int] = field(default_factory=dict)
    inner: bool = False
    states: Mapping[TableName, Mapping[str, str]] = field(default_factory=dict)
    rule_states: Mapping[TableName, Mapping[str, str]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    grants: Mapping[int, Sequence[Row]] = field(default_factory=dict)
    returning: tuple[str, ...] = ()

    @cached_property
    def moves_out(self) -> list[Move]:
        return [pair.leaving for pair in self.pairs if pair.leaving]

    @cached_property
    def moves_in(self) -> list[Move]:
        return [pair.entering for pair in self.pairs if pair.entering]

    @cached_property
    def out(self) -> set[int]:
        return {move.relation.oid for move in self.moves_out}

    @cached_property
    def into(self) -> set[int]:
        return {move.relation.oid for move in self.moves_in}


# ------------------------------------------------------------------ what is refused


def refuse(it: SwapScope) -> None:
    """Raise one PlanrunError for all objects that depend on a leaving relation and would not be carried over."""
    wrong = [one.line for one in it.dependents.losses_to_refuse]
    known = {pair.full_name for pair in it.pairs}
    wrong += [
        f"{one.what} was created since the tables were loaded"
        for one in it.dependents.derived
        if one.full_name not in known
    ]
    gone = {p.full_name for p in it.pairs if p.leaving and not p.entering}
    wrong += [
        f"foreign key {key}: {key.parent} is not replaced by a new table"
        for key in incoming_keys(it)
        if key.parent in gone
    ]
    wrong += [f"foreign key {key}: of a kind that planrun does not know" for key in incoming_keys(it) if not key.plain]
    if wrong:
        raise StaleError(
            "the swap would not carry over: " + "; ".join(sorted(wrong)),
            hint=f"change or drop the named objects, or load again: planrun apply {PLAN}",
            code="PR0810",
        )


# ------------------------------------------------------------------ foreign keys


def incoming_keys(it: SwapScope) -> list[ForeignKey]:
    """Return the foreign keys of tables outside that refer to a relation that leaves."""
    return [key for key in it.keys if key.ref_oid in it.out and key.oid not in it.out | it.into]


def outgoing_keys(it: SwapScope) -> list[ForeignKey]:
    """Return the foreign keys of leaving tables to other tables: the backup tables must not block deletes in live
    tables."""
    return [key for key in it.keys if key.oid in it.out and (key.ref_oid not in it.out or it.inner)]


def missing_keys(it: SwapScope) -> list[ForeignKey]:
    """Return the foreign keys that the entering relations should have and do not have yet."""
    live = {pair.entering.relation.oid: pair.full_name for pair in it.pairs if pair.entering}
    have = {(*live[key.oid], key.name) for key in it.keys if key.oid in live}
    entering = {p.full_name for p in it.pairs if p.entering}
    return [key for key in it.wanted if key.key not in have and key.child in entering]


def new_foreign_keys(it: SwapScope) -> list[ForeignKey]:
    """Return the foreign keys that the exchange creates."""
    return [*incoming_keys(it), *missing_keys(it)]


def orphan_queries(it: SwapScope, live: Collection[TableName]) -> list[dict[str, Any]]:
    """Return the values for sql/refresh/orphans.sql.j2, which counts the rows that would violate each foreign key.

    live: tables whose rows are copied from the live one until the last moment, so the query reads the live table.
    """
    places = {p.full_name: p.entering.relation.full_name for p in it.pairs if p.entering}
    places |= {name: name for name in live}
    return [_orphan_query_values(key, places) for key in new_foreign_keys(it) if key.validated]


def belongings(it: SwapScope) -> dict[str, tuple[str, ...]]:
    """Return the indexes and constraints of the new tables at the swap, so that a rollback can recognise later ones."""
    names = {pair.name: _names(pair.entering.relation) for pair in it.pairs if pair.entering}
    for key in new_foreign_keys(it):
        names.get(key.table, set()).add(key.name)
    return {name: tuple(sorted(found)) for name, found in names.items()}


def came_later(it: SwapScope) -> Iterator[str]:
    """Yield a line for each table with indexes or constraints that were created since the swap: they are put aside with
    it."""
    then = it.refresh.record.belongings
    for pair, old, new in _both(it):
        kept = {part.to for part in new.parts} | _names(new.relation) | set(then.get(pair.name, ()))
        if pair.name in then and (later := sorted(_names(old.relation) - kept)):
            names = ", ".join(shown_name("", name) for name in later)
            yield f"{pair.full_name}: created since the swap, and put aside with the new table: {names}"


def _names(relation: Relation) -> set[str]:
    return {one["name"] for one in (*relation.indexes, *relation.constraints)}


def _orphan_query_values(key: ForeignKey, places: Mapping[TableName, TableName]) -> dict[str, Any]:
    child, parent = key.child, key.parent
    (schema, table), (ref_schema, ref_table) = places.get(child, child), places.get(parent, parent)
    return {
        "name": shown_name("", key.name),
        "child": str(child),
        "parent": str(parent),
        "schema": schema,
        "table": table,
        "ref_schema": ref_schema,
        "ref_table": ref_table,
        "columns": list(key.columns),
        "ref_columns": list(key.ref_columns),
        "full": "MATCH FULL" in key.tail,
    }


def _add(key: ForeignKey, major: int) -> Iterator[str]:
    waits = "" if key.partitioned and major < NOT_VALID_ON_PARTITIONED else " not valid"
    yield f"alter table {key.sql} add constraint {ident(key.name)} {key.definition()}{waits}"
    if key.comment:
        yield f"comment on constraint {ident(key.name)} on {key.sql} is {literal(key.comment)}"


def _drop(key: ForeignKey) -> str:
    return f"alter table {key.sql} drop constraint {ident(key.name)}"


def refresh_statements(it: SwapScope) -> list[str]:
    """Return the statements that refresh materialized views whose functions read tables by name: they contain old
    rows."""
    names = {p.full_name for p in it.pairs if p.entering}
    through = [one for one in it.dependents.derived if one.kind == "matview" and one.through and one.populated]
    inside = [f"refresh materialized view {n.sql}" for n in (o.full_name for o in through) if n in names]
    return [*inside, *(one.statement for one in it.dependents.outside if one.is_filled)]


def validations(it: SwapScope) -> list[str]:
    """Return the VALIDATE CONSTRAINT statements that follow the COMMIT; their locks block neither readers nor
    writers."""
    later = [
        key
        for key in new_foreign_keys(it)
        if key.validated and not (key.partitioned and it.major < NOT_VALID_ON_PARTITIONED)
    ]
    return [f"alter table {key.sql} validate constraint {ident(key.name)}" for key in later]


# ------------------------------------------------------------------ the parts


def before(it: SwapScope) -> str:
    """Return the SQL that prepares the entering relations in their shadow schema; it locks no live table."""
    schemas = shadow_schemas(it)
    relations = [move.relation for move in it.moves_out]
    grants = [
        f"grant usage, create on schema {ident(schema)} to {ident(role)}"
        for schema in sorted(schemas)
        for role in sorted(carried_properties.roles(relations))
    ]
    carried = [line for _, old, new in _both(it) for line in _carry(old, new)]
    return _script([*grants, *carried])


def _carry(old: Move, new: Move) -> Iterator[str]:
    return carried_properties.before(old.relation, new.relation, {part.oid: part.to for part in new.parts})


def shadow_schemas(it: SwapScope) -> set[str]:
    """Return the shadow schemas that relations enter from."""
    found = {m.relation.schema for m in it.moves_in if m.relation.schema == naming.shadow_schema(m.schema)}
    return found | set(it.refresh.record.shadow_schemas.keys()) if found else found


def renames_before(it: SwapScope) -> str:
    """Return the last SQL before the locks: the renames that block nobody, and a query that opens what will be renamed.

    The query opens each relation once, to fill the caches of this connection: with 100 tables the renames under
    the locks then take a fifth less time. It keeps no lock.
    """
    oids = [
        oid
        for move in it.moves_out
        for oid in (move.relation.oid, *(p.oid for p in move.parts if p.kind == "sequence"))
    ]
    return _script(
        [
            *(line for move in it.moves_out for line in renames.leave_before(move)),
            *(line for move in it.moves_in for line in renames.enter_before(move)),
            f"select pg_catalog.sum(pg_catalog.pg_relation_size(o)) from pg_catalog.unnest({literal(oids)}::oid[]) o",
        ]
    )


def index_renames(it: SwapScope) -> dict[int, tuple[str, str]]:
    """Return the old and the new name of each live index that is renamed before the locks, by OID."""
    parts = (part for move in it.moves_out for part in move.parts)
    return {part.oid: (part.name, part.to) for part in parts if part.kind == "index" and part.name != part.to}


def let_wait(it: SwapScope, watched: Collection[TableName], taken: renames.Taken) -> SwapScope:
    """Return the scope in which entering relations wait in the live schema, under temporary names, until the others
    leave.

    SET SCHEMA takes as long as four renames. Captured tables stay where they are, because their last rows are copied
    there under the locks. None waits if the leaving relations change their schema: they have all names until then.
    """
    if any(move.schema != move.relation.schema for move in it.moves_out):
        return it
    held = {move.relation.full_name for move in it.moves_out}
    held |= {
        TableName(move.relation.schema, p.name) for move in it.moves_out for p in move.parts if p.kind == "sequence"
    }
    pairs = [
        replace(pair, entering=renames.wait(pair.entering, held, taken))
        if pair.entering and pair.entering.schema != pair.entering.relation.schema and pair.full_name not in watched
        else pair
        for pair in it.pairs
    ]
    return replace(it, pairs=tuple(pairs))


def _both(it: SwapScope) -> Iterator[tuple[Pair, Move, Move]]:
    yield from ((p, p.leaving, p.entering) for p in it.pairs if p.leaving and p.entering)


def locks(it: SwapScope) -> str:
    """Return one LOCK TABLE in OID order: every table that leaves, or that loses or gets a foreign key."""
    names = ", ".join(name.sql for name in lock_targets(it))
    return f"lock table {names} in access exclusive mode" if names else ""


def lock_targets(it: SwapScope) -> list[TableName]:
    """Return the tables that the exchange locks, in the order of their OIDs."""
    found = {move.relation.oid: move.relation.full_name for move in it.moves_out if move.relation.is_table}
    found |= {key.oid: key.child for key in incoming_keys(it)}
    outside = [key.parent for key in (*outgoing_keys(it), *missing_keys(it))]
    outside += it.dependents.locks
    entering = {pair.full_name for pair in it.pairs}
    for name in outside:
        if name not in entering and name in it.oids:
            found[it.oids[name]] = name
    return [found[oid] for oid in sorted(found)]


def watched_oids(it: SwapScope) -> list[int]:
    """Return the relations whose catalog rows must be unchanged when planrun has the locks."""
    outside = {key.oid for key in incoming_keys(it)} | {key.ref_oid for key in outgoing_keys(it)}
    return sorted(it.out | outside)


def exchange_sql(it: SwapScope, end: Iterable[str]) -> str:
    """Return the SQL of the exchange itself; `end` is the SQL that writes to the ledger."""
    functions = it.dependents.functions
    return _script(
        [
            dependents.SETTINGS,
            *it.removed,
            *(one.leave for one in (*functions, *it.dependents.functions_given_up)),
            *it.returning,
            *map(_drop, [*incoming_keys(it), *outgoing_keys(it)]),
            *(line for move in it.moves_out for line in renames.leave(move)),
            # after the rename that locks the old sequence, as nextval() needs no table; and before the new one is
            # renamed: with 1,000 tables it took 0.3 s after that, and takes 0.1 s here
            *(line for _, old, new in _both(it) for line in _sequence_values(old, new)),
            *(line for move in it.moves_in for line in renames.enter(move)),
            *(line for one in functions for line in _make_function_anew(one, it.grants)),
            *(line for pair, old, new in _both(it) for line in _after(it, pair, old, new)),
            *(line for pair in it.pairs for line in _enable_new(it, pair)),
            *(one.statement for one in it.dependents.repoint),
            *(line for key in new_foreign_keys(it) for line in _add(key, it.major)),
            *(line for _, old, _new in _both(it) for line in carried_properties.publish(old.relation, old.to)),
            *end,
        ]
    )


def _make_function_anew(function: Function, grants: Mapping[int, Sequence[Row]]) -> Iterator[str]:
    yield function.enter
    if function.oid in grants:
        name = f"routine {function.full_name.sql}({function.arguments})"
        yield from carried_properties.executable(name, grants[function.oid], function.owner)


def _sequence_values(old: Move, new: Move) -> Iterator[str]:
    return renames.sequence_values(old, new, carried_properties.sequence_pairs(old.relation, new.relation))


def _after(it: SwapScope, pair: Pair, old: Move, new: Move) -> Iterator[str]:
    name = pair.full_name
    return carried_properties.after(old.relation, new.relation, it.states.get(name, {}), it.rule_states.get(name, {}))


def _enable_new(it: SwapScope, pair: Pair) -> Iterator[str]:
    name = pair.full_name
    if pair.entering and not pair.leaving:
        states, rules = it.states.get(name, {}), it.rule_states.get(name, {})
        yield from carried_properties.enable_new(pair.entering.relation, pair.entering.to, states, rules)


def _script(statements: Iterable[str]) -> str:
    return "".join(f"{one.strip().rstrip(';')};\n" for one in statements if one.strip())


# ------------------------------------------------------------------ the ledger's part


def afterwards(it: SwapScope) -> list[str]:
    """Return the SQL that follows the COMMIT, each statement in a transaction of its own."""
    return [*validations(it), *refresh_statements(it)]


def follow_up(refresh: str, texts: Sequence[str], connection: str) -> Iterator[Sql]:
    """Yield the work after the COMMIT as actions; each records what is left, so that an interrupted run can
    continue."""
    for number, text in enumerate(texts, 1):
        left = ledger.note(refresh, afterwards=tuple(texts[number:]))
        yield Sql(text=f"{text};\n{left}", connection=connection)


def mark_aside(it: SwapScope, plan: str) -> Iterator[str]:
    """Yield the comments that mark what was put aside; the ledger keeps the previous comments."""
    for move in it.moves_out:
        comment = f"{ledger.marker(it.refresh.id)} {move.relation} as it was before the swap of plan {plan}"
        yield f"comment on {move.relation.word} {move.to} is {literal(comment)}"


def record_leaving(it: SwapScope) -> str:
    """Return the SQL that records the leaving relations and their parts, under the live names. It locks none of
    them."""
    return _script([ledger.add_members(it.refresh.id, _old_members(it))] if it.moves_out else [])


def _old_members(it: SwapScope) -> list[Member]:
    return [*(member for move in it.moves_out for member in _members(move)), *functions_aside(it, "old")]


def functions_aside(it: SwapScope, side: str) -> list[Member]:
    """Return the functions that are put aside with the tables of a side, as the ledger keeps them."""
    return [
        Member(
            side=side, catalog="pg_proc", oid=one.oid, kind="function", schema=one.schema, name=one.name,
            record=MemberRecord(aside=TableName(one.schema, one.aside), signature=one.signature),
        )
        for one in (*it.dependents.functions, *it.dependents.functions_given_up)
    ]  # fmt: skip


def _members(move: Move) -> Iterator[Member]:
    one = move.relation
    record = MemberRecord(comment=one.comment, aside=move.full_name)
    yield Member(
        side="old",
        catalog="pg_class",
        oid=one.oid,
        kind=one.member_kind,
        schema=one.schema,
        name=one.name,
        record=record,
    )
    for part in move.parts:
        where = MemberRecord(aside=TableName(move.schema, part.to))
        yield Member(
            side="old", catalog=part.catalog, oid=part.oid, kind=part.kind, schema=part.schema, name=part.name,
            record=where,
        )  # fmt: skip
