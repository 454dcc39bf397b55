"""Keep the target's rows of some tables: copy the live rows into the new tables, including later writes.

Before planrun copies the rows, it creates a trigger on each live table, which records the keys of rows that change.
planrun copies these rows again, the last time under the lock of the swap. Applications notice nothing but the trigger.
Each table needs a primary key, or a unique index whose columns are all NOT NULL, and the new table must have the same
columns. The swap creates the foreign keys between these tables and the others, because their rows come from elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.errors import NotKnownYet, PlanrunError, RefusedError, StaleError
from runner.fates import Fate, Preview
from runner.kinds.base import CatalogReader, LockParams, Output, Prospect, Render, param
from runner.losses import Good, Protection
from runner.model import UNKNOWN, Action, Copied, Exchange, Note, Refill, Result, Sql
from runner.record import dataclass
from runner.refresh import ledger, owners
from runner.refresh.capture import change_capture
from runner.refresh.records import Key, Watched
from runner.refresh.swap import disabled_triggers
from runner.sqltext import SqlText, ident, idents, join_statements
from runner.table_name import Named, TableName
from runner.words import PLAN, json_text, plural, shown_name

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "tables": Output(
        "array", "The tables that keep their rows, with the rows that were copied.", fields=("schema", "name", "rows")
    ),
    "count": Output("integer", "The number of tables."),
}

_READ = """\
set transaction isolation level repeatable read;
set local row_security = off;
set local statement_timeout = 0;
"""


_WAYS_OUT = "remove it from `tables`, or correct this in the source or the target"


@dataclass(frozen=True, kw_only=True)
class Params(LockParams):
    tables: tuple[str | Mapping[str, Any], ...] = param(
        "The tables that keep the target's rows: `name`, or what find_tables gives. The list may be empty.",
        examples=[["users", "sessions"], "${params.preserved}"],
    )
    schema: str = param("The schema of the tables; by default, the schema that was loaded.", default="", maxLength=63)
    jobs: int = param("How many tables are copied at the same time.", default=2, minimum=1, maximum=64)
    connection: str = param("The connection to the target.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Pair(Named):
    """A live table, and its shadow by OID and name. parts, shadow_parts: whether each is partitioned."""

    live: Watched
    oid: int
    schema: str
    name: str
    parts: bool
    shadow_parts: bool

    @property
    def shadow(self) -> SqlText:
        return self.full_name.sql


@dataclass(frozen=True, kw_only=True)
class Facts:
    refresh: ledger.Refresh | None = None
    pairs: tuple[Pair, ...] = ()


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts:
    if not params.tables:
        return Facts()
    every = ledger.read(lambda text: reader.rows(text, connection=params.connection))
    mine = (one for one in every if one.plan == reader.plan)
    refresh = ledger.find(mine, schema=params.schema, states=("loaded",))
    wanted = [(_in_schema(given, params, refresh)) for given in map(TableName.parse, params.tables)]
    rows = _not_beside(_rows(params, reader, wanted, None), every)
    _refuse(rows, RefusedError, _WAYS_OUT)
    if refresh is None:
        raise NotKnownYet(
            f"the new tables of {', '.join(map(_table_name, rows))} (nothing is loaded)",
            hint="put a step that uses shadow_load before this one",
            code="PR0806",
        )
    rows = _not_beside(_rows(params, reader, wanted, refresh), every)
    # the next load creates other shadow tables, so these must not stop a plan that begins with it
    _refuse(rows, StaleError, f"load again: planrun apply {PLAN}; if that fails with the same message: {_WAYS_OUT}")
    return Facts(refresh=refresh, pairs=tuple(_pair(row, refresh) for row in rows))


def _refuse(rows: Iterable[Mapping[str, Any]], error: type[PlanrunError], hint: str) -> None:
    if refused := [f"{_table_name(row)} {row['reason']}" for row in _refusals(rows)]:
        raise error(f"cannot preserve: {'; '.join(refused)}", hint=hint)


def _not_beside(rows: Sequence[Mapping[str, Any]], every: Iterable[ledger.Refresh]) -> list[Mapping[str, Any]]:
    """Leave out what runs put beside the live tables: before a load the schema is unknown, so rows may match these."""
    beside = {
        member.oid
        for one in every
        for member in one.members
        if member.catalog == "pg_class" and member.place != member.full_name
    }
    return [row for row in rows if row["oid"] not in beside]


def _refusals(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of names that can be preserved in no schema; the load decides which schema it is."""
    for _, found in itertools.groupby(rows, key=lambda row: (row["wanted_schema"], row["wanted_name"])):
        candidates = list(found)
        if all(row["reason"] for row in candidates):
            yield from candidates


def _in_schema(given: TableName, params: Params, refresh: ledger.Refresh | None) -> TableName:
    """Return a table's name with the schema that was loaded. Raises PlanrunError for a table of another schema."""
    loaded = params.schema or (refresh.schema if refresh else "")
    if loaded and given[0] not in ("", loaded):
        raise PlanrunError(f"{given} is not in schema {shown_name('', loaded)}, which is loaded", code="PR0807")
    return TableName(given.schema or loaded, given.name)


def _rows(
    params: Params, reader: CatalogReader, wanted: Sequence[TableName], refresh: ledger.Refresh | None
) -> list[dict[str, Any]]:
    loaded = {table: _shadow_of(table, refresh) for table in wanted}
    shadows = [one.oid if one else 0 for one in loaded.values()]
    schemas, names = zip(*loaded, strict=True)
    wanted_by = {"schemas": list(schemas), "names": list(names), "shadows": shadows}
    text = reader.sql("refresh/watchable_tables.sql.j2", **wanted_by, strict=True)
    return reader.rows(text, connection=params.connection)


def _shadow_of(table: TableName, refresh: ledger.Refresh | None) -> ledger.Member | None:
    members = refresh.side("new") if refresh else ()
    return next((one for one in members if one.kind == "table" and one.full_name == table), None)


def _shadow(table: TableName, refresh: ledger.Refresh) -> ledger.Member:
    member = _shadow_of(table, refresh)
    if member is None:
        raise PlanrunError(
            f"table {table} was not loaded",
            hint="remove it from `tables`, or load it: it must be in the source and not in `exclude:`",
            code="PR0807",
        )
    if member.there and member.marked:
        return member
    raise StaleError(f"the new table {table} is gone", hint=f"load again: planrun apply {PLAN}", code="PR0806")


def _table_name(row: Mapping[str, Any]) -> str:
    return shown_name(row["schema"] or row["wanted_schema"], row["name"] or row["wanted_name"])


def _pair(row: Mapping[str, Any], refresh: ledger.Refresh) -> Pair:
    member = _shadow(TableName.of(row), refresh)
    live = Watched(
        refresh=refresh.id,
        oid=int(row["oid"]),
        schema=row["schema"],
        name=row["name"],
        key=tuple(Key(*key) for key in row["key"]),
        columns=tuple(row["columns"]),
        truncate_on=tuple(TableName(*one) for one in row["truncate_on"]),
    )
    return Pair(
        live=live,
        oid=member.oid,
        schema=member.now_schema,
        name=member.now_name,
        parts=bool(row["parts"]),
        shadow_parts=bool(row["shadow_parts"]),
    )


# ------------------------------------------------------------------ render


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    refresh, pairs = facts.refresh, facts.pairs
    if refresh is None or not pairs:
        return (Note(text="no table is preserved: all rows come from the source"),)
    vacuumed = ", ".join([*(pair.shadow for pair in pairs), *(pair.live.journal for pair in pairs)])
    return (
        _begin(params, refresh, pairs),
        Refill(connection=params.connection, tables=tuple(map(_copy_plan, pairs)), jobs=params.jobs),
        Sql(text=_READ + _catch_up(pairs), connection=params.connection),
        Sql(text=f"vacuum (analyze) {vacuumed}", connection=params.connection, transaction=False),
        *(Sql(text=text, connection=params.connection) for text in _refresh_views(refresh)),
    )


def _begin(params: Params, refresh: ledger.Refresh, pairs: Sequence[Pair]) -> Exchange:
    live = [pair.live for pair in pairs]
    names = [pair.live.name for pair in pairs]
    text = [*_no_foreign_keys(refresh, pairs), change_capture.install(live, refresh.id)]
    text.append(ledger.note(refresh.id, preserved=tuple(names)))
    return Exchange(
        connection=params.connection,
        what=f"begin to record which rows of {plural(len(live), 'table')} change: {', '.join(map(_live, pairs))}",
        locks=change_capture.lock(live),
        text=join_statements(text),
        lock_timeout=params.lock_timeout,
        deadline=params.deadline,
        hold_timeout=params.hold_timeout,
    )


def _live(pair: Pair) -> str:
    return str(pair.live.full_name)


def _no_foreign_keys(refresh: ledger.Refresh, pairs: Sequence[Pair]) -> Iterator[str]:
    """Drop the shadows' foreign keys from or to a preserved table, as the ledger has them, so that a resume gives the
    same SQL."""
    preserved = {pair.live.full_name for pair in pairs}
    tables = {one.full_name: one for one in refresh.side("new") if one.kind == "table"}
    for fk in refresh.record.foreign_keys:
        own = tables.get(TableName(refresh.schema, fk.table))
        if own and {(refresh.schema, fk.table), fk.parent} & preserved:
            where = own.place.sql
            yield f"alter table {where} drop constraint if exists {ident(fk.name)}"


def _copy_plan(pair: Pair) -> Copied:
    live, columns = pair.live, idents(list(pair.live.columns))
    freeze = "" if pair.shadow_parts else ", freeze"
    plain = "" if pair.parts else "only "
    return Copied(
        schema=live.schema,
        name=live.name,
        # this names the journal and its key: a resumed run that installs another one must copy again as well
        first=f"-- after {live.journal} {json_text(live.key)}\n"
        f"{disabled_triggers.disable_until_enabled(pair.shadow)};\ntruncate {pair.shadow}",
        out=f"copy (select {columns} from {plain}{live.sql}) to stdout (format binary)",
        into=f"copy {pair.shadow} ({columns}) from stdin (format binary{freeze})",
        # contains no name, because one could contain {rows}
        after=f"{disabled_triggers.enable()};\n{change_capture.record_rows(live.refresh, pair.oid, '{rows}')}",
    )


def _catch_up(pairs: Sequence[Pair]) -> str:
    return join_statements(change_capture.catch_up(pair.live, pair.schema, pair.name) for pair in pairs)


def _refresh_views(refresh: ledger.Refresh) -> Iterator[str]:
    """Refresh the materialized views that were built while the preserved tables were empty, in OID order."""
    views = (one for one in refresh.side("new") if one.kind == "matview" and one.there and one.record.populated)
    for view in sorted(views, key=lambda one: one.oid):
        yield owners.refresh(view.place.sql)


# ------------------------------------------------------------------ preview


def preview(prospect: Prospect) -> Preview | None:
    """Preview which tables keep their rows, also before anything is loaded."""
    if prospect.params is None:
        return None
    if not prospect.params.tables:
        return Preview(lines=("no table keeps its rows: all rows come from the source",))
    coming = [one for load in prospect.before("shadow_load") for one in load.coming if one.fate is Fate.KEPT]
    count = len(coming) or (len(prospect.facts.pairs) if prospect.facts else 0)
    if not count:
        return None
    rows = sum(one.rows or 0 for one in coming)
    of = f"the {plural(rows, 'live row')}" if coming else "the live rows"
    return Preview(
        lines=(
            f"copies {of} of {plural(count, 'table')} into the new ones",
            "a trigger records which rows change meanwhile; the swap copies them",
        )
    )


# ------------------------------------------------------------------ what it gives


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not facts.pairs:
        return {"tables": [], "count": 0}
    copied = results[1] if len(results) > 1 else None
    if copied is None:
        return {"tables": UNKNOWN, "count": len(facts.pairs)}
    return {"tables": copied["tables"], "count": len(facts.pairs)}


def check_earlier(outputs: Mapping[str, Any], reader: CatalogReader) -> str:
    """Return what is wrong with the triggers of an earlier attempt, "" if they recorded every change."""
    wanted = {TableName.of(one) for one in outputs.get("tables") or ()}
    if not wanted:
        return ""
    found = [one for one in ledger.read(reader.rows) if one.plan == reader.plan]
    refresh = ledger.find(found, states=("loading", "loaded"))
    if refresh is None:  # swapped since, or removed, which the swap detects
        return ""
    live = refresh.record.keys
    quiet = {row["name"] for row in reader.rows(change_capture.silent(live))}
    quiet |= {str(table) for table in wanted - {one.full_name for one in live}}
    return f"not every change of {', '.join(sorted(quiet))} was recorded since an earlier attempt" if quiet else ""


def protects(given: Mapping[str, Any]) -> tuple[Protection, ...]:
    place = given.get("connection", "")
    return tuple(Protection(good=good, place=place, whole=True) for good in (Good.LIVE, Good.SETS))
