"""Replace the live tables with the loaded shadow tables in one short transaction, and put the old tables aside.

planrun requests all locks at once for a short time, and repeats this until the deadline. It ends no other connection.
It carries over owners, grants, row security, policies, publications, triggers, views, foreign keys of other tables,
sequences and comments, or the swap refuses. The old tables stay as the backup set, which `planrun rollback` puts back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from runner.fates import Fate, ObjectFate, Preview
from runner.kinds.base import CatalogReader, LockParams, Output, Prospect, Render, SqlReader, param
from runner.losses import Good, Loss
from runner.model import UNKNOWN, Action, Check, Exchange, Note, Result
from runner.record import dataclass
from runner.refresh import access, ledger, naming, object_fates
from runner.refresh.capture import change_capture, rollback_window
from runner.refresh.catalog import facts
from runner.refresh.catalog.facts import Catalog
from runner.refresh.ledger import Refresh
from runner.refresh.records import Watched
from runner.refresh.swap import renames, swap_plan, swap_sql
from runner.refresh.swap.swap_sql import Pair, SwapScope
from runner.sqltext import ident
from runner.table_name import TableName
from runner.words import PLAN, plural, shown_name

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "set": Output("string", "The id of the refresh; its old tables are the backup set."),
    "schema": Output("string", "The schema whose tables were replaced."),
    "tables": Output("array", "The tables that were replaced or are new.", fields=("schema", "name", "kind", "aside")),
    "views": Output("array", "The views that were rebuilt on them.", fields=("schema", "name", "kind", "aside")),
    "count": Output("integer", "The number of tables."),
    "locked_ms": Output(
        "number", "How long the live tables were locked, in milliseconds, including the COMMIT.", measure="locked_ms"
    ),
    "attempts": Output("integer", "How often planrun requested the locks."),
    "until": Output("string", 'Until when a rollback loses no write, in ISO 8601; "" without a rollback window.'),
}


@dataclass(frozen=True, kw_only=True)
class Params(LockParams):
    schema: str = param("The schema to swap; by default, the schema that was loaded.", default="")
    naming: Literal["prefix", "schema"] = param(
        "Where the old tables go: `backup_<Table>` in the same schema, or a schema named backup.", default="prefix"
    )
    rollback_window: float = param(
        "How long after the swap planrun records changed keys, so that a rollback loses no write; 0: not at all.",
        default=0.0,
        unit="duration",
        minimum=0,
    )
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The exchange, the check under its locks, and the tables whose keys are recorded from the swap on."""

    it: SwapScope
    changed: str
    plan: str
    older: tuple[Refresh, ...]
    moved: tuple[str, ...]
    watched: tuple[Watched, ...]
    window: tuple[Watched, ...]
    until: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """An earlier attempt of this run committed the swap, but was interrupted before it recorded that."""

    refresh: Refresh


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts | Done:
    catalog = Catalog(reader, params.connection, reader.server(params.connection).major)
    refreshes = catalog.refreshes()
    if done := next((one for one in refreshes if one.id == reader.run and one.state == "swapped"), None):
        return Done(refresh=done)
    ready = swap_plan.ready(
        catalog,
        refreshes,
        reader.plan,
        params.schema,
        aside=_aside(params),
        inner=bool(params.rollback_window),
        dropped=reader.stale and bool(reader.others("drop_backup_set")),
    )
    refresh = ready.it.refresh
    window = rollback_window.window_tables(catalog, refresh.id, ready.it.pairs) if params.rollback_window else ()
    changed = catalog.change_query(swap_sql.watched_oids(ready.it), swap_sql.index_renames(ready.it))
    return Facts(
        it=ready.it,
        changed=facts.both(changed, change_capture.check_unbroken(ready.watched)),
        plan=reader.plan,
        older=ready.older,
        moved=ready.moved,
        watched=ready.watched,
        window=window,
        until=rollback_window.until(reader.start_time, params.rollback_window),
    )


def _aside(params: Params) -> swap_plan.Aside:
    return swap_plan.in_a_schema if params.naming == "schema" else swap_plan.with_a_prefix


# ------------------------------------------------------------------ render


def render(params: Params, facts: Facts | Done, sql: Render) -> tuple[Action, ...]:
    if isinstance(facts, Done):
        left = swap_sql.follow_up(facts.refresh.id, facts.refresh.record.afterwards, params.connection)
        swapped = Note(text=f"swapped already, at {facts.refresh.swapped:%Y-%m-%d %H:%M:%S} UTC, by this run")
        return (swapped, *left)
    return tuple(_actions(params, facts, sql))


_ORPHANS = (
    "live rows refer to rows that the new tables lack: correct them, or load a source that has them "
    f"(planrun abort {PLAN}, then planrun apply {PLAN})"
)


def _actions(params: Params, facts: Facts, sql: Render) -> Iterator[Action]:
    it = facts.it
    yield Note(text="\n".join(_lines(facts)))
    if coming := swap_sql.orphan_queries(it, {one.full_name for one in facts.watched}):
        text = sql("refresh/orphans.sql.j2", keys=coming)
        yield Check(text=text, connection=params.connection, hint=_ORPHANS)
    tables = [move for move in it.moves_in if move.relation.is_table]
    yield Exchange(
        connection=params.connection,
        what=f"swap {plural(len(tables), 'table')} of {shown_name('', it.refresh.schema)}",
        before=swap_sql.before(it)
        + swap_sql.record_leaving(it)
        + rollback_window.install(facts.window, it.refresh.id, facts.until)
        + _first(params, facts)
        + swap_sql.renames_before(it),
        locks=swap_sql.locks(it),
        check=facts.changed,
        hint=f"somebody has just changed it; planrun apply {PLAN} --resume makes a new diff of the swap",
        catch_up=tuple(_catch_up(facts)),
        backlog=change_capture.backlog(facts.watched) if facts.watched else "",
        text=swap_sql.exchange_sql(it, _ends(facts)),
        lock_timeout=params.lock_timeout,
        deadline=params.deadline,
        hold_timeout=params.hold_timeout,
    )
    yield from swap_sql.follow_up(it.refresh.id, swap_sql.afterwards(it), params.connection)


def _lines(facts: Facts) -> Iterator[str]:
    it = facts.it
    yield _source_line(it.refresh)
    for pair in it.pairs:
        name = str(pair.full_name)
        if pair.leaving is None:
            yield f"{name}: new"
        else:
            aside = str(pair.leaving.full_name)
            yield f"{name}: {object_fates.aside_note(aside)}" + ("" if pair.entering else ", without a successor")
    yield from it.dependents.lines()
    yield from _window_lines(facts)


def _source_line(refresh: Refresh) -> str:
    made = f"{refresh.made:%Y-%m-%d %H:%M} UTC"
    return f"the tables that run {refresh.id} loaded on {made} replace the live ones"


def _aside_line(params: Params, schema: str) -> str:
    aside, wanted = _aside(params)(schema)
    return (
        f"the old tables stay in {shown_name('', aside)} as {wanted('<table>')}, until a cleanup or `planrun "
        "backups prune`"
    )


def _catch_up(facts: Facts) -> Iterator[str]:
    shadows = {p.full_name: p.entering.relation for p in facts.it.pairs if p.entering}
    for one in facts.watched:
        shadow = shadows[one.full_name]
        yield change_capture.catch_up(one, shadow.schema, shadow.name)


def _first(params: Params, facts: Facts) -> str:
    """Write the ledger, and free the names that the leaving tables get."""
    made = f"{access.make_schema(swap_plan.SCHEMA)};\n" if params.naming == "schema" else ""
    return _record(facts) + made + "".join(f"{text};\n" for text in facts.moved)


def _record(facts: Facts) -> str:
    it = facts.it
    noted = ledger.note(
        it.refresh.id,
        dropped_keys=tuple(swap_sql.outgoing_keys(it)),
        keys=(),
        window=rollback_window.window_record(facts.window, it.pairs, facts.until),
        afterwards=tuple(swap_sql.afterwards(it)),
        belongings=swap_sql.belongings(it),
    )
    return f"{noted};\n{ledger.set_state(it.refresh.id, 'swapped')};\n"


def _ends(facts: Facts) -> Iterator[str]:
    """Yield the last statements of the transaction: protection of new tables, markers, dropping empty shadow
    schemas."""
    it = facts.it
    yield from it.refresh.record.new_protection
    yield from map(renames.advance_sequence, it.refresh.record.sequences)
    yield from swap_sql.mark_aside(it, facts.plan)
    yield from (f"drop schema {ident(name)} restrict" for name in sorted(swap_sql.shadow_schemas(it)))


# ------------------------------------------------------------------ preview


def fates(params: Params, facts: Facts | Done) -> Iterator[ObjectFate]:
    if isinstance(facts, Facts):
        yield from object_fates.of_exchange(facts.it, facts.it.refresh.record.preserved)


def preview(prospect: Prospect) -> Preview | None:
    """Preview the swap, of the tables that the plan loads before it or of those that are already loaded."""
    params, reader = prospect.params, prospect.reader
    if params is None:
        return None
    coming = next((one for one in prospect.before("shadow_load") if params.schema in ("", one.place)), None)
    if coming:
        return _of_coming(params, coming, reader)
    if not isinstance(prospect.facts, Facts):
        return Preview() if prospect.facts else None
    it, ask = prospect.facts.it, partial(reader.rows, connection=params.connection)
    lines = (_source_line(it.refresh), _aside_line(params, it.refresh.schema), *_window_lines(prospect.facts))
    return object_fates.exchange_preview(it, it.refresh.record.preserved, lines, ask, reader.sql)


def _of_coming(params: Params, coming: Preview, reader: CatalogReader) -> Preview:
    catalog = Catalog(reader, params.connection, reader.server(params.connection).major)
    aside, wanted = _aside(params)(coming.place)
    taken = catalog.names_in_use({aside})[aside]
    for one in catalog.refreshes():  # existing sets are dropped or renamed
        taken -= {member.now_name for member in one.side("old") if one.state == "swapped"}
    return Preview(
        objects=tuple(_with_aside(one, aside, naming.fit(wanted(_name(one)), taken)) for one in coming.coming),
        place=coming.place,
        lines=(
            _aside_line(params, coming.place),
            "this is the state now; planrun checks again when the step runs, and stops if an object would lose more",
        ),
        locks=coming.locks,
        holders=coming.holders,
    )


def _with_aside(one: ObjectFate, schema: str, name: str) -> ObjectFate:
    if one.kind != "table" or one.fate not in (Fate.REPLACED, Fate.KEPT):
        return one
    return replace(one, note=object_fates.aside_note(shown_name(schema, name)))


def _name(one: ObjectFate) -> str:
    return TableName.parse(one.name).name if one.kind == "table" else ""


def _window_lines(facts: Facts) -> Iterator[str]:
    if facts.window:
        yield (
            f"until {facts.until[:16].replace('T', ' ')} UTC a rollback loses no write: planrun records the "
            "changed keys"
        )
        yield from rollback_window.lost_column_lines(facts.it.pairs)
    for older in facts.older:
        yield f"the backup set of run {older.id} still exists: planrun renames it, and planrun backups prune drops it"


# ------------------------------------------------------------------ give


def give(params: Params, facts: Facts | Done, results: Sequence[Result | None]) -> Mapping[str, Any]:
    refresh = facts.refresh if isinstance(facts, Done) else facts.it.refresh
    every = (
        _recorded_tables(refresh)
        if isinstance(facts, Done)
        else [_table(pair) for pair in facts.it.pairs if pair.entering]
    )
    tables = [one for one in every if one["kind"] == "table"]
    views = [one for one in every if one["kind"] != "table"]
    given = {"set": refresh.id, "schema": refresh.schema, "tables": tables, "views": views, "count": len(tables)}
    given["until"] = _until(facts)
    done = next((one for one in results if one and "locked_ms" in one), {} if isinstance(facts, Done) else None)
    return given | {name: UNKNOWN if done is None else done.get(name, 0) for name in ("locked_ms", "attempts")}


def _until(facts: Facts | Done) -> str:
    if isinstance(facts, Facts):
        return facts.until if facts.window else ""
    return facts.refresh.record.window.until if facts.refresh.record.window else ""


def _table(pair: Pair) -> dict[str, Any]:
    kind = pair.entering.relation.member_kind if pair.entering else ""
    aside = pair.leaving.name if pair.leaving else None
    return {"schema": pair.schema, "name": pair.name, "kind": kind, "aside": aside}


def _recorded_tables(refresh: Refresh) -> list[dict[str, Any]]:
    """Return the tables of a finished swap from the ledger, in the form of `_table`."""
    aside = {m.full_name: m.now_name for m in refresh.side("old")}
    new = [m for m in refresh.side("new") if m.relation]
    names = [(m.schema, m.name, m.kind, aside.get(m.full_name)) for m in new]
    return [dict(zip(("schema", "name", "kind", "aside"), one, strict=True)) for one in names]


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    """The old tables stay as the backup set, but applications see the new rows at once."""
    return (Loss(what="swap of the live tables", good=Good.LIVE, place=given.get("connection", "")),)
