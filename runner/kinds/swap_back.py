"""Put the backup set of the last swap back, with the same care for locks, owners, grants, views, keys and sequences.

Rows that were written to the new tables since the swap would be lost. The step counts them, names the tables and
refuses, unless you use `planrun rollback --accept-data-loss`. Within the `rollback_window` of the swap nothing is lost:
planrun first copies the rows whose keys changed since the swap into the old tables, the last of them under the locks.
The tables that leave are kept aside until `planrun abort` or the next cleanup removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from runner.errors import PlanrunError
from runner.fates import Fate, ObjectFate, Preview
from runner.kinds.base import CatalogReader, LockParams, Output, Prospect, Render, param
from runner.model import UNKNOWN, Action, Check, Exchange, Note, Result
from runner.record import dataclass
from runner.refresh import access, ledger, naming, object_fates
from runner.refresh.capture import change_capture
from runner.refresh.catalog import facts, rights
from runner.refresh.catalog.dependents import Dependents
from runner.refresh.catalog.facts import Catalog
from runner.refresh.catalog.relations import Relation
from runner.refresh.ledger import Member, Refresh
from runner.refresh.records import MemberRecord, Watched
from runner.refresh.swap import carried_properties, renames, swap_plan, swap_sql
from runner.refresh.swap.swap_sql import Pair, SwapScope
from runner.sqltext import ident, literal
from runner.table_name import TableName
from runner.words import PLAN, plural, shown_name

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "set": Output("string", "The id of the refresh that was undone."),
    "schema": Output("string", "The schema whose tables were put back."),
    "tables": Output("array", "The tables that were put back.", fields=("schema", "name")),
    "count": Output("integer", "The number of tables."),
    "locked_ms": Output(
        "number", "How long the live tables were locked, in milliseconds, including the COMMIT.", measure="locked_ms"
    ),
    "attempts": Output("integer", "How often planrun requested the locks."),
}


@dataclass(frozen=True, kw_only=True)
class Params(LockParams):
    schema: str = param("The schema to put back; by default, the schema of the last swap.", default="")
    accept_data_loss: bool = param(
        "Roll back even if rows were written since the swap; these rows are lost.", default=False
    )
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The exchange; the check under its locks; the tables whose keys were recorded since the swap, if none is missing.

    quiet: the tables with missing keys, although the window is still open. replaced: SQL that drops old
    functions which the dependents create again. lost: lines on what is lost because the plan accepts it.
    """

    it: SwapScope
    changed: str
    undone: str
    abort: str
    now: datetime
    replaced: tuple[str, ...]
    noted: tuple[Watched, ...]
    quiet: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Done:
    """The last swap was undone already."""

    refresh: Refresh


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts | Done:
    catalog = Catalog(reader, params.connection, reader.server(params.connection).major)
    refreshes = catalog.refreshes()
    refresh = facts.find_refresh(
        refreshes,
        plan=reader.plan,
        schema=params.schema,
        states=("swapped", "undone"),
        what="backup set to put back",
    )
    if refresh.state == "undone":
        return Done(refresh=refresh)
    _refuse_incomplete(refresh, refreshes)
    undone = naming.undone_schema(refresh.id)
    taken = catalog.names_in_use({undone, *(member.schema for member in refresh.members)})
    pairs, policies = _without_policies(_pairs(catalog, refresh, undone, taken))
    window = refresh.record.window
    it = swap_plan.plan_exchange(
        catalog,
        refresh,
        pairs,
        leave=lambda one: renames.out(one, undone, str, taken),
        wanted=refresh.record.dropped_keys,
        watched=window.tables if window else (),
    )
    returning, replaced = _old_functions(catalog, refresh, it.dependents)
    it = replace(it, returning=returning)
    rights.to_move(catalog.ask, reader.sql, (*it.moves_out, *it.moves_in))
    swap_sql.refuse(it)
    if not params.accept_data_loss:
        _refuse_added(it)
    renames.refuse_collisions(it.moves_in, it.moves_out, taken)
    noted = _watched_tables(refresh, reader.start_time)
    quiet = catalog.silent(noted)
    checks = [catalog.change_query(swap_sql.watched_oids(it), swap_sql.index_renames(it))]
    if window and noted and not quiet:
        checks.append(change_capture.check_unbroken(noted, window.until))
    lost = reader.rows(_loss_query(it, reader.sql), connection=params.connection) if params.accept_data_loss else []
    return Facts(
        it=it,
        changed=facts.both(*checks),
        undone=undone,
        abort=reader.command("abort"),
        now=reader.start_time,
        replaced=replaced,
        noted=() if quiet else noted,
        quiet=tuple(quiet),
        policies=policies,
        lost=() if noted and not quiet else tuple(_loss_lines(it, lost)),
    )


def _refuse_incomplete(refresh: Refresh, refreshes: Sequence[Refresh]) -> None:
    """Raise PlanrunError if a relation of the set, or its successor, is not as the swap left it.

    A view on tables of two plans is put aside by the later swap: that one must be undone first.
    """
    later = {
        (member.oid, one.plan, one.id)
        for one in refreshes
        if one.state == "swapped" and one.id != refresh.id
        for member in one.side("old")
        if member.relation and member.there
    }
    new = {member.oid for member in _relations(refresh, "new")}
    if others := sorted({(plan, run) for oid, plan, run in later if oid in new}):
        plan, run = others[-1]
        raise PlanrunError(
            f"the swap of run {refresh.id} cannot be undone yet: run {run} of plan {plan} swapped later and put "
            "aside the tables of this run",
            hint=f"undo that one first: planrun rollback with the file of plan {plan}; then this one again",
            code="PR0815",
        )
    wrong = [f"{m.full_name} of the backup set is gone" for m in _relations(refresh, "old") if not m.there]
    wrong += [
        f"{m.place} lacks the marker of planrun in its comment"
        for m in _relations(refresh, "old")
        if m.there and not m.marked
    ]
    wrong += [
        f"{m.full_name} is not the one that the swap put there"
        for m in _relations(refresh, "new")
        if m.place != m.full_name
    ]
    if wrong:
        raise PlanrunError(
            f"the swap of run {refresh.id} cannot be undone: {'; '.join(wrong)}",
            hint=f"planrun backups verify {PLAN}",
            code="PR0815",
        )


def _refuse_added(it: SwapScope) -> None:
    """Raise PlanrunError for columns that were added after the swap: the old tables cannot keep their values."""
    then = it.refresh.record.columns
    added = [
        f"{pair.full_name}.{shown_name('', column['name'])}"
        for pair in it.pairs
        if pair.leaving and pair.entering and pair.name in then
        for column in pair.leaving.relation.columns
        if column["name"] not in then[pair.name]
        and column["name"] not in {one["name"] for one in pair.entering.relation.columns}
    ]
    if added:
        raise PlanrunError(
            f"columns that were added since the swap would be lost with their values: {', '.join(added)}",
            hint=f"save it, then: planrun rollback {PLAN} --accept-data-loss",
            code="PR0816",
        )


def _relations(refresh: Refresh, side: str) -> list[Member]:
    return [member for member in refresh.side(side) if member.relation]


def _watched_tables(refresh: Refresh, now: datetime) -> tuple[Watched, ...]:
    """Return the tables whose keys are being recorded, none if the window has ended."""
    window = refresh.record.window
    return window.tables if window and datetime.fromisoformat(window.until) >= now else ()


def _pairs(catalog: Catalog, refresh: Refresh, undone: str, taken: renames.Taken) -> tuple[Pair, ...]:
    old = {m.full_name: m for m in _relations(refresh, "old")}
    live = catalog.trees([m.oid for m in _relations(refresh, "new")])
    relations = catalog.relations({*live, *(m.oid for m in old.values())})
    out = {relations[oid].full_name: relations[oid] for oid in live}
    parts = {m.oid: m.name for m in refresh.side("old") if not m.relation}
    names = sorted(out.keys() | old.keys(), key=lambda name: (out[name].oid if name in out else 0, name))
    return tuple(_pair(name, out.get(name), old.get(name), relations, parts, undone, taken) for name in names)


def _pair(
    name: TableName,
    live: Relation | None,
    old: Member | None,
    relations: Mapping[int, Relation],
    parts: Mapping[int, str],
    undone: str,
    taken: renames.Taken,
) -> Pair:
    leaving = renames.out(live, undone, str, taken) if live else None
    entering = None
    if old:
        was = replace(relations[old.oid], comment=old.record.comment)
        entering = renames.back(was, *name, parts)
    return Pair(schema=name[0], name=name[1], leaving=leaving, entering=entering)


def _old_functions(
    catalog: Catalog, refresh: Refresh, dependents: Dependents
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the SQL that gives functions of the set their old names, and the SQL that drops those that cannot get
    them.

    What uses an old function, such as a view that the plan gave up, keeps it: CREATE OR REPLACE then gives it the body
    of the live one. PostgreSQL refuses that for another signature, so a new function is needed; nor does it come back
    if somebody has created another one in its place.
    """
    live = {one.full_name: one.signature for one in dependents.functions}
    old = [one for one in refresh.side("old") if one.kind == "function" and one.there]
    values = {"oids": [one.oid for one in old], "names": [one.name for one in old]}
    leaving = [one.oid for one in (*dependents.functions, *dependents.functions_given_up)]
    rows = catalog.rows("swap_back/in_their_place.sql.j2", **values, leaving=leaving) if old else []
    superseded = {row["oid"] for row in rows}
    returning: list[str] = []
    replaced: list[str] = []
    for one in old:
        it = f"routine {one.place.sql}({one.arguments})"
        signature = one.record.signature
        same = signature and live.get(one.full_name, signature) == signature
        if same and one.oid not in superseded:
            returning.append(f"alter {it} rename to {ident(one.name)}")
        else:
            replaced.append(f"drop {it} restrict")
    return tuple(returning), tuple(replaced)


def _without_policies(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """Return the pairs with the old tables' policies removed, and the statements that drop these policies.

    The old tables get the policies of the leaving tables. Their own may use functions of the set, which are dropped.
    """
    texts: list[str] = []
    found: list[Pair] = []
    for pair in pairs:
        if pair.entering and (policies := pair.entering.relation.policies):
            texts += [f"drop policy {ident(one['name'])} on {pair.entering.relation.sql}" for one in policies]
            bare = replace(pair.entering, relation=replace(pair.entering.relation, policies=()))
            pair = replace(pair, entering=bare)
        found.append(pair)
    return tuple(found), tuple(texts)


# ------------------------------------------------------------------ render


def render(params: Params, facts: Facts | Done, sql: Render) -> tuple[Action, ...]:
    if isinstance(facts, Done):
        left = tuple(swap_sql.follow_up(facts.refresh.id, facts.refresh.record.afterwards, params.connection))
        rest = "the work after the exchange remains to be done" if left else "nothing to do"
        return (Note(text=f"the swap of run {facts.refresh.id} was undone already: {rest}", idle=True), *left)
    return tuple(_actions(params, facts, sql))


def _actions(params: Params, facts: Facts, sql: Render) -> Iterator[Action]:
    it = facts.it
    yield Note(text="\n".join([*_lines(facts), *facts.it.dependents.lines()]))
    if not facts.noted and not params.accept_data_loss:
        yield Check(text=_loss_query(it, sql), connection=params.connection, hint=_HINT)
    # otherwise rows that they refer to may still be added
    if not facts.noted and (coming := swap_sql.orphan_queries(it, ())):
        text = sql("refresh/orphans.sql.j2", keys=coming)
        yield Check(text=text, connection=params.connection, hint=_ORPHANS)
    tables = [move for move in it.moves_in if move.relation.is_table]
    yield Exchange(
        connection=params.connection,
        what=f"put {plural(len(tables), 'table')} of {shown_name('', it.refresh.schema)} back",
        before=_restore_comments(it) + swap_sql.before(it) + _first(facts) + swap_sql.renames_before(it),
        locks=swap_sql.locks(it),
        check=facts.changed,
        hint=f"somebody has just changed it; planrun rollback {PLAN} makes a new diff",
        catch_up=tuple(_catch_up(facts)),
        backlog=change_capture.backlog(facts.noted) if facts.noted else "",
        text=swap_sql.exchange_sql(it, ()),
        lock_timeout=params.lock_timeout,
        deadline=params.deadline,
        hold_timeout=params.hold_timeout,
    )
    yield from swap_sql.follow_up(it.refresh.id, swap_sql.afterwards(it), params.connection)


_HINT = (
    f"save those rows, then: planrun rollback {PLAN} --accept-data-loss; "
    "a `rollback_window:` of swap_tables avoids this"
)


_ORPHANS = "live rows of other tables refer to rows that the old tables lack: move or delete those rows first"


def _lines(facts: Facts) -> Iterator[str]:
    refresh = facts.it.refresh
    swapped = f"{refresh.swapped:%Y-%m-%d %H:%M:%S} UTC" if refresh.swapped else "?"
    yield f"the backup set of run {refresh.id}, put aside on {swapped}, becomes live again"
    if facts.noted:
        yield "no write since the swap is lost: planrun recorded the keys that changed and copies their rows"
    if facts.quiet:
        yield f"the rollback window cannot be used: not every change of {', '.join(facts.quiet)} was recorded"
    yield from facts.lost
    for pair in facts.it.pairs:
        if pair.entering is None:
            yield f"{pair.full_name}: put aside, and no older table takes its place"
    yield from swap_sql.came_later(facts.it)
    yield f"the tables that are put aside stay in schema {shown_name('', facts.undone)}: {facts.abort} drops them"


def _loss_lines(it: SwapScope, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each table that was written to since the swap, with the query that shows these rows.

    rows: of changed.sql.j2.
    """
    names = {str(move.relation): move.relation.sql for move in it.moves_out}
    xids = literal([str(int(xid) % (1 << 32)) for xid in it.refresh.record.xids])
    for row in rows:
        if row["others"] is None:
            yield f"! {row['what']}"
            continue
        gone = f", and {plural(row['gone'], 'row')} of the swap that were changed or deleted" if row["gone"] else ""
        yield f"! {row['name']} loses {plural(row['others'], 'row')} written since the swap{gone}"
        if row["others"]:
            yield f"  they are: select * from {names[row['name']]} as t where t.xmin::text <> all ({xids}::text[])"


def _loss_query(it: SwapScope, sql: Render) -> str:
    rows = {m.oid: m.record.rows for m in it.refresh.side("new")}
    leaving = [move.relation for move in it.moves_out if move.relation.is_table and not move.relation.partition]
    tables = [
        {"schema": one.schema, "name": one.name, "shown": str(one), "rows": rows.get(one.oid), "parts": one.kind == "p"}
        for one in leaving
    ]
    xids = list(it.refresh.record.xids)
    return sql("swap_back/changed.sql.j2", tables=tables, oids=[one.oid for one in leaving], xids=xids)


def _restore_comments(it: SwapScope) -> str:
    return "".join(
        f"{carried_properties.remove_comment(move.relation, move.relation.comment)};\n" for move in it.moves_in
    )


def _catch_up(facts: Facts) -> Iterator[str]:
    olds = {p.full_name: p.entering.relation for p in facts.it.pairs if p.entering}
    for one in facts.noted:
        if old := olds.get(one.full_name):
            yield change_capture.catch_up(one, old.schema, old.name)


def _first(facts: Facts) -> str:
    """Write the ledger, create the schema for the leaving tables, and drop what the dependents create again."""
    refresh = facts.it.refresh
    comment = f"{ledger.marker(refresh.id)} tables that a rollback put aside"
    texts = [
        *_record(facts),
        f"create schema {ident(facts.undone)}",
        access.close(facts.undone),
        f"comment on schema {ident(facts.undone)} is {literal(comment)}",
    ]
    texts += facts.policies
    texts += facts.replaced
    return "".join(f"{text};\n" for text in texts)


def _record(facts: Facts) -> Iterator[str]:
    refresh = facts.it.refresh
    after = tuple(swap_sql.afterwards(facts.it))
    yield ledger.note(refresh.id, window=None, undone=facts.undone, afterwards=after)
    if others := [*swap_sql.functions_aside(facts.it, "new"), *_views_without_successor(facts.it)]:
        yield ledger.add_members(refresh.id, others)
    yield ledger.set_state(refresh.id, "undone")


def _views_without_successor(it: SwapScope) -> Iterator[Member]:
    """Yield the views that were created on the new tables since the swap and that leave with them, as the plan
    accepts."""
    known = {one.oid for one in it.refresh.side("new")}
    for move in it.moves_out:
        one = move.relation
        if not one.is_table and one.oid not in known:
            yield Member(
                side="new", catalog="pg_class", oid=one.oid, kind=one.member_kind, schema=one.schema, name=one.name,
                record=MemberRecord(aside=move.full_name),
            )  # fmt: skip


# ------------------------------------------------------------------ preview


def fates(params: Params, facts: Facts | Done) -> Iterator[ObjectFate]:
    if isinstance(facts, Facts):
        yield from object_fates.of_exchange(facts.it)


def preview(prospect: Prospect) -> Preview | None:
    params, facts, reader = prospect.params, prospect.facts, prospect.reader
    swapped = next((one for one in prospect.before("swap_tables") if params and params.schema in ("", one.place)), None)
    if swapped:  # an earlier step of the same plan will put them aside; they come back
        return replace(swapped, objects=tuple(map(_back, swapped.objects)), lines=())
    if not isinstance(facts, Facts):
        return None
    ask = partial(reader.rows, connection=params.connection)
    return object_fates.exchange_preview(facts.it, (), _lines(facts), ask, reader.sql)


_UNDONE = {Fate.ADDED: Fate.DROPPED, Fate.DROPPED: Fate.ADDED, Fate.KEPT: Fate.REPLACED}
"""The fate of a table in the rollback, by its fate in the swap."""


def _back(one: ObjectFate) -> ObjectFate:
    if one.kind != "table":
        return one
    return replace(
        one,
        fate=_UNDONE.get(one.fate, one.fate),
        rows=one.rows_after,
        rows_after=one.rows,
        gains=one.loses,
        loses=one.gains,
        note="",
    )


# ------------------------------------------------------------------ give

_COUNTS = ("count", "locked_ms", "attempts")


def give(params: Params, facts: Facts | Done, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if isinstance(facts, Done):
        return {"set": facts.refresh.id, "schema": facts.refresh.schema} | dict.fromkeys(_COUNTS, 0) | {"tables": []}
    it = facts.it
    tables = [
        {"schema": pair.schema, "name": pair.name}
        for pair in it.pairs
        if pair.entering and pair.entering.relation.is_table
    ]
    given = {"set": it.refresh.id, "schema": it.refresh.schema, "tables": tables, "count": len(tables)}
    done = next((one for one in results if one and "locked_ms" in one), None)
    return given | {name: done.get(name, 0) if done else UNKNOWN for name in ("locked_ms", "attempts")}
