"""Build new tables for a schema from another database, in a shadow schema that nobody uses until the swap.

Structure and rows come from one snapshot of the source. planrun writes the rows frozen, then creates indexes and
constraints. It rebuilds views of the target on the new tables, which proves that they still work. It does not touch the
live tables. Before it creates anything, it refuses, by name, what it cannot carry over to the new tables. Partitions
are loaded with their root.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from runner.errors import PlanrunError
from runner.fates import Basis, Depth, Fate, ObjectFate, Preview
from runner.kinds.base import CatalogReader, Output, Prospect, Render, param
from runner.losses import Good, Protection
from runner.model import UNKNOWN, Action, Load, Note, Result, ShadowTable
from runner.names import glob_regex
from runner.record import dataclass
from runner.refresh import ledger, naming, object_fates
from runner.refresh.catalog import dependents, refusals, requirements, rights
from runner.refresh.catalog.dependents import Dependents
from runner.refresh.catalog.refusals import Refusal
from runner.refresh.lock_holders import lock_holders
from runner.refresh.row_counts import RowCount, live_row_counts, row_counts
from runner.sqltext import literal, qualified
from runner.table_name import TableName
from runner.words import close_matches, plural, shown_name, size

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "set": Output("string", "The id of this refresh in the ledger."),
    "schema": Output("string", "The schema whose tables were loaded."),
    "tables": Output("array", "The tables that were loaded.", fields=("schema", "name", "rows")),
    "count": Output("integer", "How many tables were loaded; a partitioned table counts once."),
    "rows": Output("integer", "The number of rows in all tables.", measure="rows"),
    "bytes": Output("integer", "The size on disk of the new tables in bytes, including indexes.", measure="bytes"),
    "connection": Output("string", "The connection to the target."),
}

_GLOB = frozenset("*?[")


@dataclass(frozen=True, kw_only=True)
class Params:
    from_: str = param("The connection to the source, which planrun only reads.", connection=True, minLength=1)
    schema: str = param(
        "The schema, which has the same name in both databases.", default="public", minLength=1, maxLength=63
    )
    include: tuple[str, ...] = param(
        "Only these tables: names, or globs with `*`, `?` and `[abc]`; by default, all tables.",
        default=(),
        minItems=1,
        examples=[["orders", "customer_*"]],
    )
    regex: str = param("Only tables whose names match this PostgreSQL regular expression.", default="")
    exclude: tuple[str, ...] = param(
        "Leave out these tables: globs on `name` or on `schema.name`; they stay as they are in the target.",
        default=(),
        examples=[["schema_migrations", "tmp_*"]],
    )
    structure_only: tuple[str, ...] = param(
        "Tables (names or globs) whose rows come from elsewhere, such as from shadow_sync.", default=()
    )
    lose: tuple[str, ...] = param(
        "Objects that depend on the tables and may be lost, named as in a diff.",
        default=(),
        examples=[["view public.top"]],
    )
    jobs: int = param("How many tables are copied at the same time.", default=2, minimum=1, maximum=64)
    checksums: bool = param(
        "Checksum the content of each source table, so that shadow_verify can compare it.", default=True
    )
    connection: str = param("The connection to the target.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """tables: rows of select.sql.j2 by name. live: rows of live.sql.j2 by name. older: an unfinished refresh.

    aside: names in the schema that belong to a backup set. unmatched: names in `exclude:` that match no table.
    remarks: what will differ from the source. preserved: the live rows of the tables that keep them.
    exact: the tables whose rows in the source were counted.
    """

    pg_dump: str
    tables: Mapping[str, Mapping[str, Any]]
    live: Mapping[str, Mapping[str, Any]]
    dependents: Dependents
    empty: frozenset[str] = frozenset()
    older: ledger.Refresh | None = None
    aside: frozenset[str] = frozenset()
    majors: tuple[int, int] = (0, 0)
    unmatched: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    preserved: Mapping[str, RowCount] = field(default_factory=dict)
    exact: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class TargetCheck:
    """The state of the target: why the tables cannot be created there, and what a reviewer should know."""

    refused: tuple[Refusal, ...]
    remarks: tuple[str, ...]


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts:
    _refuse_same(params, reader)
    rights.refuse_without(lambda text: reader.rows(text, connection=params.connection), reader.sql, use=[params.schema])
    tables = {row["name"]: row for row in reader.rows(_selection(params, reader), connection=params.from_)}
    _refuse_nothing(params, tables)
    text = reader.sql("shadow_load/live.sql.j2", schema=params.schema, names=list(tables))
    live = {row["name"]: row for row in reader.rows(text, connection=params.connection)}
    unmatched = _names_without_table(params, live, reader)
    refreshes = ledger.read(lambda text: reader.rows(text, connection=params.connection))
    found = _dependents(params, reader, [name for name in tables if name in live], refreshes)
    around = _check_target(params, tables, reader)
    refused = [
        *_misspelt(unmatched, tables),
        *_refusals(tables, live),
        *_collisions(tables, live),
        *_dangling_foreign_keys(params, tables, live, reader),
        *around.refused,
        *_missing_rights(params, tables, live, reader),
        *_foreign_schemas(params, found, refreshes, reader),
        *_keyless(params, [name for name in tables if name in live], reader),
    ]
    refusals.refuse([*refused, *_losses(found, {one.exclude for one in refused})])
    source = reader.server(params.from_).major
    counts = row_counts(params.schema, tables.values(), partial(reader.rows, connection=params.from_), reader.sql)
    preserved = _live_counts(params, _names_to_preserve(params, live, reader), reader)
    return Facts(
        pg_dump=reader.pg_dump_for(source),
        tables={name: {**row, "rows": counts[name].rows} for name, row in tables.items()},
        live=live,
        dependents=found,
        empty=_structure_only(params, tables, reader),
        older=_older(params, reader, refreshes),
        aside=_aside(params, refreshes),
        majors=(source, reader.server(params.connection).major),
        unmatched=unmatched,
        remarks=around.remarks,
        preserved=preserved,
        exact=frozenset(name for name, count in counts.items() if count.exact),
    )


def reads(params: Params, reader: CatalogReader) -> list[tuple[str, str, str]]:
    """Return connection, schema and name of the tables whose rows are read, whether the role may read them or not."""
    rows = reader.rows(_selection(params, reader), connection=params.from_)
    return [(params.from_, params.schema, name) for row in rows for name in (row["name"], *row["parts"])]


def _selection(params: Params, reader: CatalogReader) -> str:
    return reader.sql(
        "shadow_load/select.sql.j2",
        schema=params.schema,
        included=[glob_regex(each) for each in params.include],
        regex=params.regex,
        excluded=[glob_regex(each) for each in params.exclude],
    )


def _refuse_same(params: Params, reader: CatalogReader) -> None:
    text = reader.sql("shadow_load/who.sql.j2")
    here, there = (reader.rows(text, connection=name)[0] for name in (params.connection, params.from_))
    if (here["oid"], here["started"]) == (there["oid"], there["started"]):
        raise PlanrunError(
            f"source and target are the same database: {shown_name('', here['name'])}",
            hint="correct `connections:`; planrun doctor shows where each leads",
            code="PR0414",
        )


def _refuse_nothing(params: Params, tables: Mapping[str, Any]) -> None:
    """Raise PlanrunError if no table is chosen, or if a named table does not exist."""
    named = (*params.include, *params.structure_only)
    missing = [each for each in named if not _GLOB & set(each) and each not in tables]
    if missing or not tables:
        what = f"no table {', '.join(missing)}" if missing else "no table that matches"
        raise PlanrunError(
            f"{what} in schema {shown_name('', params.schema)} of the source",
            hint="correct `include:`, `regex:`, `exclude:` and `structure_only:`; names are taken as they are written",
            code="PR0802",
        )


def _names_without_table(params: Params, live: Mapping[str, Any], reader: CatalogReader) -> tuple[str, ...]:
    """Return the names in `exclude:` that neither database has; globs may match nothing."""
    named = {each: each.removeprefix(f"{params.schema}.") for each in params.exclude if not _GLOB & set(each)}
    wanted = {str(qualified(params.schema, name)): each for each, name in named.items() if name not in live}
    if not wanted:
        return ()
    return tuple(wanted[row["name"]] for row in reader.rows(_not_there(wanted), connection=params.from_))


def _misspelt(unmatched: Sequence[str], tables: Mapping[str, Any]) -> Iterator[Refusal]:
    """Yield the names in `exclude:` that are similar to that of a table, which would be replaced."""
    for each in unmatched:
        if near := close_matches(each, tables, cutoff=0.8):
            name, table = shown_name("", each), shown_name("", near[0])
            yield Refusal(
                what=table,
                reason=f"`exclude:` names {name}, which is in neither database",
                way=f"did you mean {table}? If not, take {name} out of `exclude:`",
            )


def _check_target(params: Params, tables: Mapping[str, Mapping[str, Any]], reader: CatalogReader) -> TargetCheck:
    """Check what the tables require and call, and which parts cannot be created again."""

    def source(name: str, **values: Any) -> list[dict[str, Any]]:
        return reader.rows(reader.sql(name, **values), connection=params.from_)

    names = [name for row in tables.values() for name in (row["name"], *row["parts"])]
    own = {(params.schema, name) for name in names}
    needs = source("catalog/needs.sql.j2", schemas=[params.schema] * len(tables), names=list(tables))
    values = requirements.values(required := requirements.required_rows(needs, own))
    there = source("shadow_load/things.sql.j2", **values)
    here = reader.rows(reader.sql("shadow_load/things.sql.j2", **values), connection=params.connection)
    calls = source("shadow_load/calls.sql.j2", schema=params.schema, names=list(tables))
    unfit = source("shadow_load/unfit.sql.j2", schema=params.schema, names=list(tables))
    return TargetCheck(
        refused=(
            *requirements.missing_things(required, there, here),
            *requirements.calls(calls, there, here),
            *(_unfit(row) for row in unfit if row["reason"]),
        ),
        remarks=(
            *(_invalid_index_line(row) for row in unfit if not row["reason"]),
            *requirements.unlike(calls, there, here),
        ),
    )


def _unfit(row: Mapping[str, Any]) -> Refusal:
    part = f"{row['kind']} {shown_name('', row['part'])}: " if row["part"] else ""
    return refusals.of_table(row["name"], part + row["reason"])


def _invalid_index_line(row: Mapping[str, Any]) -> str:
    index, table = shown_name("", row["part"]), shown_name("", row["name"])
    return f"index {index} of {table} is invalid in the source: left out"


def _missing_rights(
    params: Params, tables: Mapping[str, Mapping[str, Any]], live: Mapping[str, Any], reader: CatalogReader
) -> Iterator[Refusal]:
    """Yield the rights that the connecting roles lack to read the tables or to create shadow tables."""
    names = [name for row in tables.values() for name in (row["name"], *row["parts"])]
    text = reader.sql("catalog/readable.sql.j2", schemas=[params.schema] * len(names), names=names)
    for row in reader.rows(text, connection=params.from_):
        yield Refusal(what="the source", reason=row["problem"], way=row["remedy"])
    text = reader.sql("shadow_load/may.sql.j2", schema=params.schema, names=sorted(live))
    for row in reader.rows(text, connection=params.connection):
        yield Refusal(what="the target", reason=row["problem"], way=row["remedy"])


def _live_counts(params: Params, names: Sequence[str], reader: CatalogReader) -> dict[str, RowCount]:
    return live_row_counts(params.schema, names, partial(reader.rows, connection=params.connection), reader.sql)


def _names_to_preserve(params: Params, live: Mapping[str, Any], reader: CatalogReader) -> list[str]:
    """Return the live tables whose rows the plan's shadow_sync keeps."""
    wanted = [
        TableName.parse(each)
        for given in reader.others("shadow_sync")
        if isinstance(each_of := given.get("tables"), list | tuple)
        for each in each_of
        if each is not UNKNOWN
    ]
    return [name for schema, name in wanted if schema in ("", params.schema) and name in live]


def _foreign_schemas(
    params: Params, found: Dependents, refreshes: Sequence[ledger.Refresh], reader: CatalogReader
) -> Iterator[Refusal]:
    """Yield the schemas that have the name of a shadow schema and do not belong to planrun."""
    names = {naming.shadow_schema(schema) for schema in (params.schema, *(view.schema for view in found.derived))}
    text = reader.sql("shadow_load/taken.sql.j2", names=sorted(names))
    markers = tuple(ledger.marker(one.id) for one in refreshes)
    for row in reader.rows(text, connection=params.connection):
        if not markers or not row["comment"].startswith(markers):
            what = f"schema {shown_name('', row['name'])}"
            yield Refusal(
                what=what, reason="planrun did not create it, but needs a schema of this name", way="rename it"
            )


def _keyless(params: Params, names: Sequence[str], reader: CatalogReader) -> Iterator[Refusal]:
    """Yield the tables whose changed keys cannot be recorded, if the plan's swap has a `rollback_window`."""
    windows = (
        given.get("rollback_window")
        for given in reader.others("swap_tables")
        if given.get("schema", "") in ("", params.schema)
    )
    if not any(window and window is not UNKNOWN for window in windows):
        return
    pairs = {"schemas": [params.schema] * len(names), "names": list(names)}
    text = reader.sql("refresh/watchable_tables.sql.j2", **pairs, shadows=[0] * len(names), strict=False)
    for where, connection in (("source", params.from_), ("target", params.connection)):
        for row in reader.rows(text, connection=connection):
            if not row["key"]:
                reason = (
                    f"the swap has a `rollback_window:`, and in the {where} it has neither a primary key nor a unique"
                )
                way = "give it a key, or remove `rollback_window:`"
                yield refusals.of_table(row["name"], f"{reason} index whose columns are all NOT NULL", way)


def _structure_only(params: Params, tables: Mapping[str, Any], reader: CatalogReader) -> frozenset[str]:
    if not params.structure_only:
        return frozenset()
    text = reader.sql(
        "shadow_load/select.sql.j2",
        schema=params.schema,
        included=[glob_regex(each) for each in params.structure_only],
        regex="",
        excluded=[],
    )
    return frozenset(row["name"] for row in reader.rows(text, connection=params.from_)) & tables.keys()


def _refusals(tables: Mapping[str, Mapping[str, Any]], live: Mapping[str, Mapping[str, Any]]) -> Iterator[Refusal]:
    for name, row in tables.items():
        here = live.get(name, {})
        if reason := row["reason"] or here.get("reason"):
            yield refusals.of_table(name, reason)


def _losses(found: Dependents, refused: Collection[str]) -> Iterator[Refusal]:
    """Yield what would be lost, except for tables that are refused already."""
    for one in found.losses_to_refuse:
        if one.may_go:
            yield refusals.of_lost(one)
        elif (name := TableName.parse(one.identity)[1]) not in refused:
            yield refusals.of_table(name, one.reason)


def _collisions(tables: Mapping[str, Mapping[str, Any]], live: Mapping[str, Mapping[str, Any]]) -> Iterator[Refusal]:
    """Yield the indexes and sequences of the tables whose names other objects keep."""
    for name, row in tables.items():
        for relation in row["relations"]:
            here = live.get(relation)
            if here and not here["leaves"] and relation != name:
                yield refusals.of_table(
                    name, f"it brings {shown_name('', relation)}, and that name is in use in the target"
                )


def _dangling_foreign_keys(
    params: Params,
    tables: Mapping[str, Mapping[str, Any]],
    live: Mapping[str, Mapping[str, Any]],
    reader: CatalogReader,
) -> Iterator[Refusal]:
    """Yield the tables with a foreign key to a table that is neither loaded nor in the target."""
    loaded = {str(qualified(params.schema, name)) for row in tables.values() for name in (row["name"], *row["parts"])}
    wanted = {other for row in tables.values() for other in row["references"]}
    missing = (
        {row["name"] for row in reader.rows(_not_there(wanted), connection=params.connection)} if wanted else set()
    )
    for name, row in tables.items():
        for other in row["references"]:
            if other in missing and _quote(other) not in loaded:
                reason = f"its foreign key refers to {other}, which is neither loaded nor in the target"
                yield refusals.of_table(name, reason)


def _not_there(names: Iterable[str]) -> str:
    return (
        f"select w.name from unnest({literal(sorted(names))}::text[]) as w (name) "
        "where pg_catalog.to_regclass(w.name) is null"
    )


def _quote(name: str) -> str:
    return str(qualified(*TableName.parse(name)))


def _dependents(
    params: Params, reader: CatalogReader, names: Sequence[str], refreshes: Sequence[ledger.Refresh]
) -> Dependents:
    ours = ledger.leftover_oids(refreshes)
    text = reader.sql(dependents.QUERY, schema=params.schema, names=list(names), ours=ours)
    return dependents.from_rows(reader.rows(text, connection=params.connection), lose=params.lose)


def _older(params: Params, reader: CatalogReader, refreshes: Sequence[ledger.Refresh]) -> ledger.Refresh | None:
    older = ledger.find(refreshes, schema=params.schema, states=("loading", "loaded"))
    if older and older.plan != reader.plan:
        raise PlanrunError(
            f"shadow tables of schema {shown_name('', params.schema)} exist already, of plan {older.plan}, run "
            f"{older.id}",
            hint="finish that plan, or remove them: planrun abort with that plan's file",
            code="PR0803",
        )
    return older


def _aside(params: Params, refreshes: Sequence[ledger.Refresh]) -> frozenset[str]:
    members = (member for one in refreshes if one.state == "swapped" for member in one.side("old"))
    return frozenset(member.now_name for member in members if member.now_schema == params.schema)


# ------------------------------------------------------------------ render


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    return (
        Note(text="\n".join(_notes(params, facts))),
        _load(params, facts),
    )


def _load(params: Params, facts: Facts) -> Load:
    return Load(
        source=params.from_,
        connection=params.connection,
        schema=params.schema,
        tables=tuple(_table(row, facts) for row in facts.tables.values()),
        pg_dump=facts.pg_dump,
        jobs=params.jobs,
        checksums=params.checksums,
        lose=params.lose,
        ledger=facts.dependents.lines(),
    )


def _table(row: Mapping[str, Any], facts: Facts) -> ShadowTable:
    name = row["name"]
    return ShadowTable(
        name=name,
        rows=row["rows"],
        bytes=row["bytes"],
        live=name in facts.live,
        empty=name in facts.empty,
        kept=facts.preserved[name].rows if name in facts.preserved else None,
    )


def _notes(params: Params, facts: Facts) -> Iterator[str]:
    shadow = naming.shadow_schema(params.schema)
    yield f"the new tables are built in schema {shown_name('', shadow)}; the live tables are not touched"
    needed = sum(row["bytes"] for name, row in facts.tables.items() if name not in facts.empty)
    yield f"the target needs about {size(needed)} of disk, and as much again for WAL during the load"
    if live := [name for name in facts.tables if name in facts.live]:
        yield f"a swap locks {plural(len(live), 'live table')}, and those with foreign keys to them, for a moment"
    if facts.older:
        yield f"removed first: the {facts.older.state} shadow tables of run {facts.older.id}"
    yield from _warnings(facts)
    yield from _differences(facts)
    yield from _lines_of_what_stays(params, facts)
    yield "checked first: whether views and expressions fit the new tables; exact row counts are known after the load"


def _warnings(facts: Facts) -> Iterator[str]:
    if facts.majors[0] > facts.majors[1]:
        yield (
            f"the source is PostgreSQL {facts.majors[0]}, the target {facts.majors[1]}: the target may not "
            "support everything that the source has"
        )
    if facts.unmatched:
        yield f"neither database has a table of this name in `exclude:`: {', '.join(facts.unmatched)}"
    if facts.dependents.unknown:
        yield f"nothing that depends on the tables has this name in `lose:`: {', '.join(facts.dependents.unknown)}"
    yield from facts.remarks


def _differences(facts: Facts) -> Iterator[str]:
    for name, row in facts.tables.items():
        here = facts.live.get(name)
        if here is None:
            yield f"{shown_name('', name)} is new in the target"
            continue
        new = [column for column in row["columns"] if column not in here["columns"]]
        gone = [column for column in here["columns"] if column not in row["columns"]]
        words = [f"gets {', '.join(new)}"] * bool(new) + [f"loses {', '.join(gone)}"] * bool(gone)
        if words:
            yield f"{shown_name('', name)} {' and '.join(words)}"


def _lines_of_what_stays(params: Params, facts: Facts) -> Iterator[str]:
    replaced = facts.tables.keys() | {part for row in facts.tables.values() for part in row["parts"]}
    elsewhere = replaced | facts.aside
    stay = [n for n, r in facts.live.items() if r["kind"] in ("r", "p", "f") and n not in elsewhere and not r["leaves"]]
    if stay:
        names = ", ".join(shown_name("", name) for name in sorted(stay)[:20])
        more = f" and {len(stay) - 20} more" if len(stay) > 20 else ""
        yield f"left as they are in {shown_name('', params.schema)} of the target: {names}{more}"


# ------------------------------------------------------------------ preview


def preview(prospect: Prospect) -> Preview | None:
    """Preview what becomes of the live tables and their dependents when a later step swaps the new tables in."""
    params, facts, reader = prospect.params, prospect.facts, prospect.reader
    if facts is None:
        return None
    others = [name for name in facts.tables if name in facts.live and name not in facts.preserved]
    live = {**facts.preserved, **_live_counts(params, others, reader)}
    ask = partial(reader.rows, connection=params.connection)
    locked = sorted(_lock_targets(params, facts))
    return Preview(
        coming=(
            *(_table_fate(params, row, facts, live.get(name)) for name, row in facts.tables.items()),
            *object_fates.of_dependents(facts.dependents),
        ),
        place=params.schema,
        lines=tuple(_preview_lines(params, facts)),
        locks=tuple(map(str, locked)),
        holders=lock_holders(locked, ask, reader.sql),
        basis=(
            Basis(
                connection=params.from_,
                names=tuple(TableName(params.schema, name) for name in facts.tables),
                depth=Depth.SHAPE,
            ),
        ),
    )


def _table_fate(params: Params, row: Mapping[str, Any], facts: Facts, live: RowCount | None) -> ObjectFate:
    name = row["name"]
    here = facts.live.get(name) if live else None
    kept = name in facts.preserved
    new = None if name in facts.empty and not kept else row["rows"]
    return ObjectFate(
        kind="table",
        name=shown_name(params.schema, name),
        fate=Fate.KEPT if kept else Fate.REPLACED if here else Fate.ADDED,
        rows=live.rows if live else None,
        rows_after=live.rows if live and kept else new,
        bytes=row["bytes"],
        gains=tuple(one for one in row["columns"] if one not in here["columns"]) if here else (),
        loses=tuple(one for one in here["columns"] if one not in row["columns"]) if here else (),
        exact=(live is None or live.exact) and (kept or name in facts.exact),
    )


def _lock_targets(params: Params, facts: Facts) -> set[TableName]:
    """Return the live tables that the swap will lock: those it replaces, and those with foreign keys from or to
    them."""
    live = {TableName(params.schema, name) for name in facts.tables if name in facts.live}
    found = live | set(facts.dependents.locks) | set(facts.dependents.foreign_key_tables)
    loaded = {TableName(params.schema, name) for row in facts.tables.values() for name in (row["name"], *row["parts"])}
    outside = {TableName.parse(each) for row in facts.tables.values() for each in row["references"]} - loaded
    return found | outside


def _preview_lines(params: Params, facts: Facts) -> Iterator[str]:
    needed = sum(row["bytes"] for name, row in facts.tables.items() if name not in facts.empty)
    shadow = shown_name("", naming.shadow_schema(params.schema))
    yield f"builds {plural(len(facts.tables), 'new table')} in {shadow}, beside the live ones"
    yield f"needs about {size(needed)} of disk, and as much again for WAL"
    if facts.older:
        yield f"first removes the {facts.older.state} shadow tables of run {facts.older.id}"
    yield from _warnings(facts)
    yield from _lines_of_what_stays(params, facts)


# ------------------------------------------------------------------ give


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    result = results[-1] if results else None
    if result is None:
        known = {"schema": params.schema, "count": len(facts.tables), "connection": params.connection}
        return dict.fromkeys(OUTPUTS, UNKNOWN) | known
    return {name: result[name] for name in OUTPUTS if name != "connection"} | {"connection": params.connection}


def check_earlier(outputs: Mapping[str, Any], reader: CatalogReader) -> str:
    """Return what is wrong with the shadow tables of an earlier attempt, "" if they exist or are already swapped."""
    connection = str(outputs.get("connection") or "")
    found = ledger.read(lambda text: reader.rows(text, connection=connection))
    made = next((one for one in found if one.id == outputs.get("set")), None)
    if made is None or made.state == "loading":
        return f"the shadow tables of the earlier attempt no longer exist: {outputs.get('set')}"
    gone = [str(m.full_name) for m in made.side("new") if made.state == "loaded" and not m.there]
    return f"these shadow tables of the earlier attempt are gone: {', '.join(sorted(gone))}" if gone else ""


def protects(given: Mapping[str, Any]) -> tuple[Protection, ...]:
    place = given.get("connection", "")
    return tuple(Protection(good=good, place=place, whole=True) for good in (Good.LIVE, Good.SETS))
