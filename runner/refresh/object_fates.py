"""What becomes of each table and of each object that depends on one, when tables are replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from runner.fates import Fate, ObjectFate, Preview
from runner.refresh.catalog.dependents import Dependents, Derived, Outside
from runner.refresh.ledger import Ask
from runner.refresh.lock_holders import lock_holders
from runner.refresh.row_counts import RowCount, table_counts
from runner.refresh.swap import swap_sql
from runner.refresh.swap.renames import Move
from runner.refresh.swap.swap_sql import Pair, SwapScope
from runner.table_name import TableName
from runner.words import one_line, shown_name

_KINDS = (
    "materialized view", "column default of", "foreign key", "table column", "foreign table", "publication relation",
    "publication namespace", "subscription relation", "table constraint", "statistics object", "composite type",
    "event trigger", "default value",
)  # fmt: skip
"""Kinds of more than one word, as `what_of` of lost_dependents and pg_identify_object write them."""


def exchange_preview(
    it: SwapScope, kept: Collection[str], lines: Iterable[str], ask: Ask, template: Callable[..., str]
) -> Preview:
    """Return what an exchange would do now: the fates with rows and columns, its locks, and who holds one of them."""
    locked = swap_sql.lock_targets(it)
    return Preview(
        objects=tuple(with_rows(of_exchange(it, kept), it, ask, template)),
        place=it.refresh.schema,
        lines=tuple(lines),
        locks=tuple(map(str, locked)),
        holders=lock_holders(locked, ask, template),
    )


def of_exchange(it: SwapScope, kept: Collection[str] = ()) -> Iterator[ObjectFate]:
    """Yield what becomes of the tables of an exchange and of what depends on them. kept: tables that keep their rows.

    Partitions are part of their root, and views are among the dependents.
    """
    for pair in it.pairs:
        one = pair.entering or pair.leaving
        if one and one.relation.is_table and not one.relation.partition:
            yield _table(pair, pair.schema == it.refresh.schema and pair.name in kept)
    yield from of_dependents(it.dependents)


def _table(pair: Pair, kept: bool) -> ObjectFate:
    name = str(pair.full_name)
    if pair.leaving is None:
        return ObjectFate(kind="table", name=name, fate=Fate.ADDED)
    note = aside_note(str(pair.leaving.full_name))
    if pair.entering is None:
        return ObjectFate(kind="table", name=name, fate=Fate.DROPPED, note=f"{note}, without a successor")
    return ObjectFate(kind="table", name=name, fate=Fate.KEPT if kept else Fate.REPLACED, note=note)


def aside_note(name: str) -> str:
    """Return a note that says where the old table is afterwards."""
    return f"the old one stays as {name}"


def with_rows(
    fates: Iterable[ObjectFate], it: SwapScope, ask: Ask, template: Callable[..., str]
) -> Iterator[ObjectFate]:
    """Yield the fates with what a reviewer compares: the rows before and after, and the columns that are added and
    lost."""
    pairs = {str(pair.full_name): pair for pair in it.pairs}
    relations = [move.relation for pair in it.pairs for move in (pair.leaving, pair.entering) if move]
    counts = table_counts((one.full_name for one in relations if one.is_table and not one.partition), ask, template)
    for one in fates:
        yield _with_rows(one, pairs[one.name], counts) if one.kind == "table" and one.name in pairs else one


def _with_rows(one: ObjectFate, pair: Pair, counts: Mapping[TableName, RowCount]) -> ObjectFate:
    now = counts.get(pair.leaving.relation.full_name) if pair.leaving else None
    after = counts.get(pair.entering.relation.full_name) if pair.entering else None
    if one.fate is Fate.KEPT:
        after = now
    old, new = _columns(pair.leaving), _columns(pair.entering)
    both = pair.leaving is not None and pair.entering is not None
    return replace(
        one,
        rows=now.rows if now else None,
        rows_after=after.rows if after else None,
        bytes=after.bytes if after else None,
        gains=tuple(column for column in new if column not in old) if both else (),
        loses=tuple(column for column in old if column not in new) if both else (),
        exact=(now is None or now.exact) and (after is None or after.exact),
    )


def _columns(move: Move | None) -> list[str]:
    """Return the definitions of a table's columns, as the diff of a load shows them."""
    columns = move.relation.columns if move else ()
    return [f"{shown_name('', one['name'])} {one['type']}{' not null' * one['not_null']}" for one in columns]


def of_dependents(found: Dependents) -> Iterator[ObjectFate]:
    """Yield what becomes of the objects that depend on replaced tables, lost ones first."""
    for lost in sorted(found.lost, key=lambda one: one.what):
        yield _of(lost.what, Fate.LOST, lost.reason + lost.stays)
    yield from map(_of_view, found.derived)
    for function in found.functions:
        yield _of(function.what, Fate.REBUILT, "created again with the new row type")
    yield from (_of(one.what, Fate.REPOINTED) for one in found.repoint)
    yield from (_of(what, Fate.REPOINTED) for what in found.foreign_keys)
    yield from (_of(what, Fate.CARRIED) for what in found.carried)
    yield from map(_of_outside, found.outside)
    yield from _of_lines(found.left)


def _of_view(one: Derived) -> ObjectFate:
    note = f"filled again after the swap: {', '.join(one.through)} may read live tables" if one.through else ""
    return _of(one.what, Fate.REBUILT, note)


def _of_outside(one: Outside) -> ObjectFate:
    calls = f"calls {', '.join(one.calls)}"
    if one.is_filled:
        return _of(f"materialized view {one.identity}", Fate.REFILLED, f"after the swap, as it {calls}")
    why = "keeps its old rows" if one.named else "if that reads these tables"
    return _of(f"materialized view {one.identity}", Fate.LEFT, f"{calls}; {why}: {one.statement}")


def _of_lines(lines: Iterable[str]) -> Iterator[ObjectFate]:
    for line in lines:
        what, _, note = line.partition(": ")
        fate = Fate.LEFT if note.startswith("left alone") else Fate.CARRIED
        yield _of(what, fate, note.removeprefix("left alone").removeprefix(", "))


def _of(what: str, fate: Fate, note: str = "") -> ObjectFate:
    """Split "policy mine on public.orders" into the kind and the name."""
    first = next((kind for kind in _KINDS if what.startswith(f"{kind} ")), what.partition(" ")[0])
    kind = first.removesuffix(" of")
    return ObjectFate(kind=kind, name=one_line(what[len(first) + 1 :]), fate=fate, note=one_line(note))
