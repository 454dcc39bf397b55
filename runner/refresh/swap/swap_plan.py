"""Check whether the loaded shadow tables can replace the live ones, before planrun drops anything for the swap.

Both the swap and the removal of the previous backup set call this: planrun does not remove today's backup set for a
swap that is known to be impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from runner.errors import StaleError
from runner.record import dataclass
from runner.refresh import ledger, naming
from runner.refresh.capture import change_capture
from runner.refresh.catalog import facts, rights
from runner.refresh.catalog.facts import Catalog
from runner.refresh.catalog.relations import ForeignKey, Relation
from runner.refresh.ledger import Member, Refresh
from runner.refresh.records import Watched
from runner.refresh.removal import removal_sql
from runner.refresh.swap import renames, swap_sql
from runner.refresh.swap.renames import Move
from runner.refresh.swap.swap_sql import Pair, SwapScope
from runner.sqltext import ident
from runner.table_name import TableName
from runner.words import PLAN

SCHEMA = "backup"
"""The schema that `naming: schema` puts the old tables into."""

States = Mapping[TableName, Mapping[str, str]]
_NONE: States = {}

Aside = Callable[[str], tuple[str, Callable[[str], str]]]
"""Schema of a leaving relation -> the schema where it is put, and the function that returns the names of objects
there."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a swap would do. older: sets of earlier swaps; moved: the SQL that renames them."""

    it: SwapScope
    older: tuple[Refresh, ...]
    moved: tuple[str, ...]
    watched: tuple[Watched, ...]


def with_a_prefix(schema: str) -> tuple[str, Callable[[str], str]]:
    return schema, lambda name: naming.PREFIX + name


def in_a_schema(schema: str) -> tuple[str, Callable[[str], str]]:
    return SCHEMA, str


def ready(
    catalog: Catalog,
    refreshes: Sequence[Refresh],
    plan: str,
    schema: str,
    *,
    aside: Aside | None = None,
    inner: bool = False,
    dropped: bool = False,
) -> Ready:
    """Return how the shadow tables that a plan loaded for a schema (any when "") take the place of the live ones.

    aside: None if it is unknown where the old tables will be put; then their new names are not checked.
    inner: as in SwapScope. dropped: earlier sets will be gone by then. Raises PlanrunError when the swap is impossible
    as things are, whether earlier backup sets are there or not: StaleError when only another load helps, TargetError
    when a right is missing.
    """
    refresh = facts.find_refresh(
        refreshes, plan=plan, schema=schema, states=("loaded",), what="shadow tables are loaded"
    )
    older = tuple(one for one in refreshes if one.state == "swapped" and one.schema == refresh.schema)
    _refuse_changed(catalog, refresh)
    watched = refresh.record.keys
    _refuse_silent(catalog, watched)
    taken = catalog.names_in_use({SCHEMA, *_schemas(refresh)})
    if dropped:
        for member in (member for one in older for member in one.side("old")):
            taken.get(member.now_schema, set()).discard(member.now_name)
        older = ()
    moved = tuple(_move_older_sets(older, taken))
    names: renames.Taken = taken if aside else {}
    place = aside or with_a_prefix
    pairs = _pairs(catalog, refresh, place, names)
    it = plan_exchange(
        catalog,
        refresh,
        pairs,
        leave=lambda one: renames.out(one, *place(one.schema), names),
        wanted=refresh.record.foreign_keys,
        watched=watched,
        inner=inner,
        states=_by_name(refresh, refresh.record.trigger_states),
        rule_states=_by_name(refresh, refresh.record.rule_states),
    )
    rights.to_move(catalog.ask, catalog.template, (*it.moves_out, *it.moves_in))
    swap_sql.refuse(it)
    renames.refuse_collisions(it.moves_in, it.moves_out, taken)
    it = swap_sql.let_wait(it, {one.full_name for one in watched}, taken)
    return Ready(it=it, older=older, moved=moved, watched=watched)


def refuse_no_use(catalog: Catalog, refreshes: Sequence[Refresh], plan: str, schemas: Collection[str]) -> None:
    """Raise PlanrunError, as `ready` does, if dropping old sets is useless because the loaded tables cannot be swapped
    in."""
    own = {one.schema for one in refreshes if one.plan == plan and one.state == "loaded"}
    for schema in sorted(own.intersection(schemas)):
        try:
            ready(catalog, refreshes, plan, schema)
        except StaleError as exc:
            raise StaleError(
                f"the swap after this cleanup cannot succeed: {exc.message}",
                hint=f"{exc.hint}; or remove what was loaded: planrun abort {PLAN}",
                code="PR0811",
            ) from exc


def _schemas(refresh: Refresh) -> set[str]:
    return {member.schema for member in refresh.members} | {refresh.schema}


def _refuse_changed(catalog: Catalog, refresh: Refresh) -> None:
    """Raise PlanrunError if the structure of a live table has changed since its shadow was built."""
    then = refresh.record.structure
    names = sorted({m.name for m in refresh.side("new") if m.schema == refresh.schema and m.kind == "table"})
    now = facts.by_name(catalog.rows("catalog/structure_of.sql.j2", schema=refresh.schema, names=names))
    changed = sorted({what for what in then.keys() | now.keys() if then.get(what) != now.get(what)})
    if changed:
        more = f" and {len(changed) - 12} more" if len(changed) > 12 else ""
        raise StaleError(
            f"changed since the tables were loaded: {', '.join(changed[:12])}{more}",
            hint=f"make the same change in the source, then load again: planrun apply {PLAN}",
            code="PR0808",
        )


def _refuse_silent(catalog: Catalog, watched: Sequence[Watched]) -> None:
    """Raise PlanrunError if a preserved table was, or may have been, written to while its changes were not recorded."""
    if quiet := catalog.silent(watched):
        raise StaleError(
            f"not every change was recorded since the tables were loaded: {', '.join(quiet)}",
            hint="its trigger planrun_keys_... was disabled or dropped, or it is another table now; load again: "
            f"planrun apply {PLAN}",
            code="PR0808",
        )


def _pairs(catalog: Catalog, refresh: Refresh, aside: Aside, taken: renames.Taken) -> tuple[Pair, ...]:
    new = {m.full_name: m for m in refresh.side("new") if m.relation}
    if gone := sorted(str(m.full_name) for m in new.values() if not m.there):
        raise StaleError(
            f"shadow tables of run {refresh.id} are gone: {', '.join(gone)}",
            hint=f"planrun apply {PLAN}",
            code="PR0806",
        )
    live = catalog.trees(catalog.find_oids(new).values())
    relations = catalog.relations({*live, *(m.oid for m in new.values())})
    out = {relations[oid].full_name: relations[oid] for oid in live}
    names = sorted(out.keys() | new.keys(), key=lambda name: (out[name].oid if name in out else 0, name))
    return tuple(_pair(aside, name, out.get(name), new.get(name), relations, taken) for name in names)


def _pair(
    aside: Aside,
    name: TableName,
    live: Relation | None,
    new: Member | None,
    relations: Mapping[int, Relation],
    taken: renames.Taken,
) -> Pair:
    leaving = renames.out(live, *aside(live.schema), taken) if live else None
    entering = renames.back(relations[new.oid], *name, {}) if new else None
    return Pair(schema=name[0], name=name[1], leaving=leaving, entering=entering)


def plan_exchange(
    catalog: Catalog,
    refresh: Refresh,
    pairs: tuple[Pair, ...],
    *,
    leave: Callable[[Relation], Move],
    wanted: tuple[ForeignKey, ...],
    watched: Sequence[Watched],
    inner: bool = False,
    states: States = _NONE,
    rule_states: States = _NONE,
) -> SwapScope:
    """Return the scope of an exchange of these pairs, a swap or a rollback; the other arguments are as in SwapScope.

    leave: where a view is put whose loss the plan accepts. wanted: the foreign keys of the entering tables.
    watched: the tables whose changes were recorded.
    """
    live = [pair.leaving.relation for pair in pairs if pair.leaving and pair.leaving.relation.is_table]
    found = catalog.dependents(live, lose=refresh.record.lose)
    pairs = _with_views_without_successor(pairs, catalog.relations(found.views_given_up), leave)
    relations = [move.relation for pair in pairs for move in (pair.leaving, pair.entering) if move]
    bound = catalog.foreign_keys([one.oid for one in relations])
    outside = {key.parent for key in (*wanted, *bound)} | set(found.locks)
    return SwapScope(
        refresh=refresh,
        pairs=pairs,
        keys=bound,
        wanted=wanted,
        dependents=found,
        major=catalog.major,
        oids=catalog.find_oids(outside),
        inner=inner,
        states=states,
        rule_states=rule_states,
        removed=(change_capture.remove(watched),),
        grants=catalog.executable([one.oid for one in found.functions]),
    )


def _with_views_without_successor(
    pairs: tuple[Pair, ...], views: Mapping[int, Relation], leave: Callable[[Relation], Move]
) -> tuple[Pair, ...]:
    """Return the pairs with those of views that are put aside without replacement; in a rollback an old view may
    enter."""
    by_name = {pair.full_name: pair for pair in pairs}
    for view in views.values():
        pair = by_name.get(view.full_name, Pair(schema=view.schema, name=view.name))
        if pair.leaving is None:
            by_name[view.full_name] = replace(pair, leaving=leave(view))
    return tuple(by_name.values())


def _by_name(refresh: Refresh, states: Mapping[str, Mapping[str, str]]) -> States:
    return {TableName(refresh.schema, table): found for table, found in states.items()}


def _move_older_sets(older: Sequence[Refresh], taken: renames.Taken) -> Iterator[str]:
    """Yield SQL that renames older sets, because this one needs their names; nothing of them is lost."""
    for refresh in older:
        # functions first: their signatures contain the current names of tables and views
        for member in sorted(refresh.side("old"), key=lambda member: member.kind != "function"):
            if member.there:
                yield from _rename_further(refresh, member, taken.setdefault(member.now_schema, set()))


def _rename_further(refresh: Refresh, member: Member, taken: set[str]) -> Iterator[str]:
    name = naming.fit(f"{member.now_name}_{refresh.id}", taken)
    taken.discard(member.now_name)
    taken.add(name)
    word = removal_sql.WORDS.get(member.kind, member.kind)
    old = f"{word} {member.place.sql}"
    if member.kind == "function":
        old += f"({member.arguments})"
    yield f"alter {old} rename to {ident(name)}"
    yield ledger.move_member(refresh.id, member, TableName(member.now_schema, name))
