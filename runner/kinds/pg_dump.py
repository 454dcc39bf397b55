"""Dump tables, schemas or the whole database into one session folder, all from one snapshot.

planrun counts and checksums every table in the same snapshot, so that a restore can be proved. It leaves out empty and
missing tables and gives the reason. A session appears under its final name only when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from runner.errors import PlanrunError
from runner.fates import Fate, ObjectFate, Preview
from runner.kinds.base import (
    CatalogReader,
    Output,
    Prospect,
    Render,
    param,
    refuse_schemas_that_are_not_there,
    tables_given,
)
from runner.losses import Good, Protection
from runner.model import UNKNOWN, Action, Backup, Check, Content, Dump, LeftOut, Note, Result, Rows
from runner.names import file_names, literally, near, pattern
from runner.record import dataclass
from runner.refresh.row_counts import RowCount, table_counts
from runner.row_queries import content_query, copy_query, values_query
from runner.table_name import TableName
from runner.words import plural, shown_name

OUTPUTS: Mapping[str, Output] = {
    "session": Output("string", "The session folder; empty if there was nothing to dump."),
    "tables": Output("array", "The tables in the session.", fields=("schema", "name", "rows", "file")),
    "count": Output("integer", "How many tables are in the session."),
    "rows": Output("integer", "The number of rows in all tables.", measure="rows"),
    "bytes": Output("integer", "The size on disk of all dumps, in bytes.", measure="bytes"),
    "left_out": Output("array", "What was requested but is not in the session.", fields=("schema", "name", "reason")),
    "files": Output("array", "The names of the dump files in the session."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    to: str = param(
        "The folder for sessions; planrun creates it if it is missing.", path=True, written=True, minLength=1
    )
    tables: tuple[str | int | Mapping[str, Any], ...] | None = param(
        "Tables: `name` (in schema public), `schema.name`, or what find_tables gives. Without `tables` and "
        "`schemas`, the whole database.",
        default=None,
        examples=[["users", "sales.orders"], "${steps.detect.tables}"],
    )
    schemas: tuple[str, ...] = param("Whole schemas, instead of tables.", default=(), minItems=1)
    format: Literal["insert", "sql", "copy", "custom", "directory", "csv"] = param(
        "`insert` (also called `sql`) and `copy` are SQL text; pg_restore reads `custom` and `directory`.",
        default="insert",
    )
    compress: bool | Literal["gzip", "zstd"] = param("Compress the dumps; `true` means gzip.", default=False)
    plain: Literal["", "portable"] = param(
        "`portable`: SQL text that psql and servers of any age can read. Since the minor releases of August 2025, "
        "pg_dump writes `\\restrict`, which prevents a dump from running psql commands; an older psql rejects it.",
        default="",
    )
    jobs: int = param("How many tables are dumped at the same time.", default=2, minimum=1, maximum=64)
    skip_empty: bool = param("Leave out tables that have no row in the snapshot.", default=True)
    left_out: tuple[Mapping[str, Any], ...] = param(
        "What an earlier step left out, each with schema, name and reason, for the summary.",
        default=(),
    )
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts: the program, the relations by (schema, name), and the tables that the plan names.

    holders: the tables that contain the rows of each, if one pg_dump writes all definitions.
    """

    pg_dump: str
    database: str
    relations: Mapping[TableName, Mapping[str, Any]]
    asked: tuple[TableName, ...] | None
    holders: Mapping[TableName, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


_WHY_NOT = {
    "v": "a view, not a table",
    "m": "a materialized view, not a table",
    "f": "a foreign table: its rows are on another server",
    "S": "a sequence, not a table",
    "i": "an index, not a table",
    "I": "an index, not a table",
    "c": "a composite type, not a table",
    "t": "a TOAST table",
}
_ENDING = {"insert": ".sql", "copy": ".sql", "custom": ".dump", "directory": ".dir", "csv": ".csv"}
_PACKED = {"": "", "gzip": ".gz", "zstd": ".zst"}
_OPTIONS = {
    "insert": ("--format=plain", "--inserts"),
    "copy": ("--format=plain",),
    "custom": ("--format=custom",),
    "directory": ("--format=directory",),
    "csv": ("--format=plain", "--schema-only"),
}
_LEVEL = {"": "--compress=0", "gzip": "--compress=6", "zstd": "--compress=zstd"}

_TEXTS = ("insert", "copy", "csv")
_DEFINITIONS = ("--format=custom", "--compress=0", "--lock-wait-timeout=10000")
"""Options of the one pg_dump that defines many tables and leaves their rows to planrun."""

# A pg_dump that waits for a lock would keep planrun's locks on all other tables for as long.
_ALWAYS = ("--strict-names", "--lock-wait-timeout=10000")


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts:
    asked = _requested_tables(params)
    if params.tables is not None and params.schemas:
        raise PlanrunError("pg_dump takes `tables` or `schemas`, not both", code="PR0119")
    if asked is None and params.format == "csv":
        raise PlanrunError("csv is a format of tables", hint="name `tables`, or choose another format", code="PR0119")
    refuse_schemas_that_are_not_there(params.schemas, reader, params.connection)
    server = reader.server(params.connection)
    text = reader.sql("pg_dump/relations.sql.j2", **_selection(params, asked))
    rows = reader.rows(text, connection=params.connection) if asked is None or asked else []
    facts = Facts(
        pg_dump=reader.pg_dump_for(server.major),
        database=server.database,
        relations={TableName.of(row): row for row in rows},
        asked=asked,
    )
    _refuse_nothing(params, facts, reader)
    return replace(facts, holders=_holders(params, facts, reader))


def _holders(params: Params, facts: Facts, reader: CatalogReader) -> dict[TableName, list[Mapping[str, Any]]]:
    """Look up the tables that contain the rows, unless each table has a pg_dump of its own.

    That is so for archives, and if all of them run at the same time, when one pg_dump would not be faster.
    """
    taken, _ = _sort_out(params, facts)
    if facts.asked is None or _format(params) not in _TEXTS or len(taken) <= params.jobs:
        return {}
    found: dict[TableName, list[Mapping[str, Any]]] = {}
    for row in reader.rows(_holders_query(taken, reader.sql), connection=params.connection):
        found.setdefault(TableName(row["top_schema"], row["top_name"]), []).append(row)
    return found


def _holders_query(tables: Sequence[TableName], sql: Render) -> str:
    return sql("pg_dump/holders.sql.j2", schemas=[one.schema for one in tables], names=[one.name for one in tables])


def _refuse_nothing(params: Params, facts: Facts, reader: CatalogReader) -> None:
    """Raise PlanrunError if none of the named tables exists, or if a missing name is similar to that of a table.

    `tables: []` is the output of a find_tables that may find nothing; it has checked that already.
    """
    if facts.asked == ():
        return
    missing = [key for key in facts.asked or () if key not in facts.relations]
    taken, left = _sort_out(params, facts)
    if taken and not missing:
        return
    text = reader.sql("pg_dump/relations.sql.j2", every=True, schemas=[], names=[])
    every = {TableName.of(row) for row in reader.rows(text, connection=params.connection)}
    others = {name for _, name in every} - {name for _, name in facts.asked or ()}
    meant = [f"{key} (there is {shown_name('', other)})" for key in missing if (other := near(key[1], others))]
    if meant:
        raise PlanrunError(f"not found: {', '.join(meant)}", hint="correct the names in `tables:`", code="PR0701")
    if not taken:
        shown = ", ".join(shown_name("", name) for name in params.schemas)
        where = f" in schema {shown}" if params.schemas else ""
        schemas = ", ".join(sorted({schema for schema, _ in every}))
        there = f"tables are in: {schemas}" if schemas else "the database has no table that this role can see"
        raise PlanrunError(
            f"{_nothing_to_dump(left)}{where}", hint=f"correct `tables:` or `schemas:`; {there}", code="PR0701"
        )


def _requested_tables(params: Params) -> tuple[TableName, ...] | None:
    """Return (schema, name) of each requested table, once; None if whole schemas were requested."""
    if params.tables is None:
        return None
    named = map(TableName.parse, params.tables)
    return tuple(dict.fromkeys(TableName(schema or "public", name) for schema, name in named))


def _selection(params: Params, asked: Sequence[TableName] | None) -> dict[str, Any]:
    if asked is None:
        return {"every": True, "schemas": list(params.schemas), "names": []}
    return {"every": False, "schemas": [s for s, _ in asked], "names": [n for _, n in asked]}


# ------------------------------------------------------------------ render


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    taken, left = _sort_out(params, facts)
    if not taken:
        return (Note(text=_nothing_to_dump(left), idle=True),)
    pairs = [pair for key in taken for pair in _family(key, facts.relations[key])]
    chosen = _selection(params, facts.asked if facts.asked is None else taken)
    dumps = _dumps(params, facts, taken, sql)
    readable = sql("catalog/readable.sql.j2", schemas=[s for s, _ in pairs], names=[n for _, n in pairs])
    backup = Backup(
        connection=params.connection,
        to=params.to,
        dumps=dumps,
        definitions=(facts.pg_dump, *_DEFINITIONS) if any(dump.rows for dump in dumps) else (),
        archives=_archives(params, facts, dumps),
        holders=_holders_query([dump.full_name for dump in dumps if dump.rows], sql),
        facts=sql("pg_dump/facts.sql.j2", **chosen),
        left_out=(*left, *_large_objects(params, facts, taken)),
        skip_empty=params.skip_empty,
        compress=_compress(params),
        jobs=params.jobs,
    )
    hint = (
        "grant select on them, back up as their owner or a role with BYPASSRLS, or leave them out: `schemas:` and "
        "`exclude:` of find_tables or `backup:` say which tables are meant"
    )
    return *_empties(params, taken), Check(text=readable, connection=params.connection, hint=hint), backup


def _empties(params: Params, taken: Sequence[TableName]) -> tuple[Note, ...]:
    """Return a note on the tables that were empty when found; the snapshot decides whether they are left out."""
    given = [each for each in params.tables or () if isinstance(each, Mapping) and each.get("empty")]
    known = [TableName(schema or "public", name) for schema, name in map(TableName.parse, given)]
    names = [str(each) for each in known if each in taken]
    if not names or not params.skip_empty:
        return ()
    return (Note(text=f"left out if still empty at that time: {', '.join(names)}"),)


def _large_objects(params: Params, facts: Facts, taken: Sequence[TableName]) -> Iterator[LeftOut]:
    """Yield that large objects are not included, if a column may refer to one (pg_dump, -b)."""
    told = [
        f"{key} ({', '.join(relation['large_objects'])})"
        for key in taken
        if (relation := facts.relations[key])["large_objects"]
    ]
    if told and (facts.asked is not None or params.schemas):
        reason = f"{', '.join(told)} may refer to large objects, which only a dump of the whole database contains"
        yield LeftOut(schema="", name="large objects", reason=reason)


def _nothing_to_dump(left: Iterable[LeftOut]) -> str:
    reasons = "; ".join(f"{each.full_name}: {each.reason}" for each in left)
    return f"nothing to dump ({reasons})" if reasons else "nothing to dump: there is no table"


def _sort_out(params: Params, facts: Facts) -> tuple[list[TableName], tuple[LeftOut, ...]]:
    """Return what is dumped and what is left out; a partition is part of its partitioned table if that is dumped."""
    left = [LeftOut(schema=_of(o, "schema"), name=_of(o, "name"), reason=_of(o, "reason")) for o in params.left_out]
    taken = []
    wanted = {key: facts.relations.get(key) for key in (facts.relations if facts.asked is None else facts.asked)}
    whole = {key for key, relation in wanted.items() if not _why_not(relation)}
    for table, relation in wanted.items():
        if reason := _why_not(relation):
            left.append(LeftOut(schema=table.schema, name=table.name, reason=reason))
        elif relation and whole.isdisjoint(TableName(*above) for above in relation["above"]):
            taken.append(table)
    return taken, tuple(left)


def _of(given: Mapping[str, Any], field: str) -> str:
    return str(given.get(field) or "")


def _why_not(relation: Mapping[str, Any] | None) -> str:
    if relation is None:
        return "does not exist"
    if relation["temporary"]:
        return "a temporary table"
    if relation["kind"] == "p" and relation["foreign"]:
        return "one of its partitions is a foreign table"
    return _WHY_NOT.get(relation["kind"], "")


def _family(key: TableName, relation: Mapping[str, Any]) -> list[TableName]:
    return [key, *(TableName(*part) for part in relation["parts"])]


def _compress(params: Params) -> str:
    if isinstance(params.compress, bool):
        return "gzip" if params.compress else ""
    return params.compress


def _format(params: Params) -> str:
    return "insert" if params.format == "sql" else params.format


def _dumps(params: Params, facts: Facts, taken: Sequence[TableName], sql: Render) -> tuple[Dump, ...]:
    if facts.asked is None:
        return (_whole(params, facts, taken),)
    names = file_names(taken, _suffix(params))
    dumps = tuple(_dump(params, facts, key, names[key], sql) for key in taken)
    return tuple(replace(dump, rows=_rows(dump, facts)) for dump in dumps)


def _rows(dump: Dump, facts: Facts) -> tuple[Rows, ...]:
    """Return how the rows of a table and its partitions are read; nothing if only pg_dump can write them."""
    inserts = dump.format == "insert"
    copies = not inserts or bool(facts.relations[dump.full_name]["floats"])
    holders = facts.holders.get(dump.full_name, ())
    if not all(any(kind != "generated" for _, kind in one["columns"]) for one in holders):
        return ()
    return tuple(_rows_of(one, inserts=inserts, copies=copies) for one in holders)


def _rows_of(holder: Mapping[str, Any], *, inserts: bool, copies: bool) -> Rows:
    table = TableName.of(holder)
    columns = tuple((name, kind) for name, kind in holder["columns"])
    loaded = [name for name, kind in columns if kind != "generated"]
    return Rows(
        schema=table.schema,
        name=table.name,
        columns=columns,
        copy=copy_query(table, loaded) if copies else "",
        values=values_query(table, columns) if inserts else "",
        overriding=holder["overriding"],
    )


def _suffix(params: Params) -> str:
    """Return the ending of file names; pg_dump's own compression of archives does not show in the name."""
    form = _format(params)
    return _ENDING[form] + (_PACKED[_compress(params)] if form in ("insert", "copy", "csv") else "")


def _argv(params: Params, facts: Facts, *more: str) -> tuple[str, ...]:
    form = _format(params)
    level = (_LEVEL[_compress(params)],) if form in ("custom", "directory") else ()
    return (facts.pg_dump, *_OPTIONS[form], *level, *_ALWAYS, *more)


def _archives(params: Params, facts: Facts, dumps: Sequence[Dump]) -> tuple[str, ...]:
    """Return the one pg_dump for all tables, unless each of them has one of its own at the same time."""
    if facts.asked is None or _format(params) in _TEXTS or len(dumps) <= params.jobs:
        return ()
    return _argv(params, facts, *_parallel(params))


def _parallel(params: Params) -> tuple[str, ...]:
    return (f"--jobs={params.jobs}",) if _format(params) == "directory" else ()


def _dump(params: Params, facts: Facts, key: TableName, file: str, sql: Render) -> Dump:
    schema, name = key
    relation = facts.relations[key]
    values = {"schema": schema, "name": name, "parts": relation["kind"] == "p"}
    floats = _floats(params, relation)
    copied = _format(params) == "csv"
    if copied and not relation["columns"]:
        raise PlanrunError(
            f"csv cannot hold {key}: it has no column that rows can be loaded into",
            hint="choose another format",
            code="PR0702",
        )
    return Dump(
        schema=schema,
        name=name,
        file=file,
        format=_format(params),
        argv=_argv(params, facts, *(f"--table={pattern(*each)}" for each in _family(key, relation))),
        content=content_query(key, parts=relation["kind"] == "p", floats=floats),
        split=bool(relation["refers"]) and _format(params) in ("insert", "copy"),
        copy=sql("pg_dump/copy.sql.j2", columns=list(relation["columns"]), **values) if copied else "",
        parts=tuple(_family(key, relation)[1:]),
        portable=params.plain == "portable",
    )


def _whole(params: Params, facts: Facts, taken: Sequence[TableName]) -> Dump:
    title = params.schemas[0] if len(params.schemas) == 1 else "schemas" if params.schemas else facts.database
    # the journal belongs to this database: restored into another one it would be wrong, and conflict with that one's
    # own
    chosen = tuple(f"--schema={literally(name)}" for name in params.schemas) or ("--exclude-schema=planrun",)
    return Dump(
        schema="",
        name="",
        file=next(iter(file_names([TableName("public", title)], _suffix(params)).values())),
        format=_format(params),
        argv=_argv(params, facts, *_parallel(params), *chosen),
        holds=tuple(_content(params, facts, key) for key in taken),
        portable=params.plain == "portable",
    )


def _floats(params: Params, relation: Mapping[str, Any]) -> list[str]:
    """Return the columns whose negative zeros an INSERT would lose."""
    return list(relation["floats"]) if _format(params) == "insert" else []


def _content(params: Params, facts: Facts, key: TableName) -> Content:
    relation = facts.relations[key]
    query = content_query(key, parts=relation["kind"] == "p", floats=_floats(params, relation))
    return Content(schema=key[0], name=key[1], query=query)


# ------------------------------------------------------------------ preview


def preview(prospect: Prospect) -> Preview | None:
    """Preview the tables to save; empty ones are left out, unless they get rows before the snapshot.

    Its `place` is "" if an earlier step decides the folder.
    """
    params, facts, reader = prospect.params, prospect.facts, prospect.reader
    if facts is None:
        return Preview(place=params.to if params else "", lines=("saves what is there when its turn comes",))
    taken, left = _sort_out(params, facts)
    counts = table_counts(taken, partial(reader.rows, connection=params.connection), reader.sql)
    may_leave = params.skip_empty and facts.asked is not None
    saved = tuple(_fate(table, counts.get(table), may_leave=may_leave) for table in taken)
    count = sum(one.fate is Fate.SAVED for one in saved)
    what = plural(count, "table") if count else "the tables that have rows then (none has rows now)"
    lines = [f"saves {what} from one snapshot to {params.to}/backup_<time>/"] if saved else []
    return Preview(
        objects=saved,
        place=params.to,
        database=facts.database,
        lines=(*lines, *(f"leaves out {one.full_name}: {one.reason}" for one in left)),
    )


def _fate(table: TableName, count: RowCount | None, *, may_leave: bool) -> ObjectFate:
    empty = may_leave and count is not None and count.exact and count.rows == 0
    return ObjectFate(
        kind="table",
        name=str(table),
        fate=Fate.LEFT if empty else Fate.SAVED,
        rows=count.rows if count else None,
        bytes=count.bytes if count else None,
        note="empty now; saved if it has rows when the snapshot is taken" if empty else "",
        exact=count is not None and count.exact,
    )


# ------------------------------------------------------------------ give


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    result = results[-1] if results else None
    if result is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    if "session" not in result:
        left = [{"schema": o.schema, "name": o.name, "reason": o.reason} for o in _sort_out(params, facts)[1]]
        result = {"session": "", "tables": [], "rows": 0, "bytes": 0, "left_out": left, "files": []}
    return {name: result[name] for name in OUTPUTS if name != "count"} | {"count": len(result["tables"])}


def check_earlier(outputs: Mapping[str, Any], reader: CatalogReader) -> str:
    """Return what is wrong with the session that an earlier attempt made, "" if it is complete."""
    session = Path(str(outputs.get("session") or ""))
    if not session.name:
        return ""
    there = any(one.name == session.name and one.state == "complete" for one in reader.sessions(str(session.parent)))
    return "" if there else f"the backup session of the earlier attempt is gone or no longer complete: {session}"


def protects(given: Mapping[str, Any]) -> tuple[Protection, ...]:
    """After it, the saved rows may be removed, and the older sessions of its folder."""
    tables = tables_given(given["tables"]) if given.get("tables") is not None else None
    return (
        Protection(good=Good.ROWS, tables=tables, place=given.get("connection", "")),
        Protection(good=Good.SESSIONS, place=given.get("to")),
    )
