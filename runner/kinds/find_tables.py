"""Find tables by prefix, by pattern, by name, or by what a command would lose, and give the list to later steps.

`lost_by:` names a command, such as a migration. planrun makes a scratch copy of the database, runs the command there
and compares tables, columns and rows before and after. The step gives the tables that lost something, each with what
(`lost`); where nothing is lost it gives none and succeeds. The command gets the address of the copy only. A diff runs
no command: what it loses is unknown until run. `planrun rehearse` shows it.

A prefix is compared character by character (`_` is just an underscore). If the step finds a partitioned table, it does
not list its partitions separately. It leaves out foreign tables, members of extensions and excluded tables, and gives
the reason. Row counts are exact for tables of up to 8 MB; above that they are PostgreSQL's estimates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from runner.errors import PlanrunError
from runner.kinds.base import (
    BadParam,
    CatalogReader,
    Output,
    Render,
    param,
    refuse_bad_patterns,
    refuse_schemas_that_are_not_there,
)
from runner.model import UNKNOWN, Action, Note, Result, Trial
from runner.names import glob_regex, near, near_prefix
from runner.record import dataclass
from runner.refresh import ledger
from runner.table_name import TableName
from runner.words import plural, shown_name, size

OUTPUTS: Mapping[str, Output] = {
    "tables": Output(
        "array",
        "The tables. `rows` is exact for tables of up to 8 MB, else an estimate or null; `bytes` includes indexes; "
        "with `lost_by`, `lost` says what the table would lose.",
        fields=("schema", "name", "rows", "bytes", "empty", "lost"),
    ),
    "count": Output("integer", "How many tables were found."),
    "filled": Output("integer", "How many of them have rows."),
    "rows": Output("integer", "The number of rows in all tables, as far as it is known."),
    "bytes": Output("integer", "The size of all tables in bytes, including indexes."),
    "left_out": Output("array", "What matched but was left out.", fields=("schema", "name", "reason")),
    "loses": Output("boolean", "With `lost_by`: whether anything would be lost, a table's or one of `others`."),
    "losses": Output("string", "With `lost_by`: what would be lost, a line for each table and for each of `others`."),
    "others": Output(
        "array",
        "With `lost_by`: views, sequences, functions and the like that are gone. No backup of tables contains them.",
        fields=("kind", "schema", "name"),
    ),
    "renamed": Output(
        "array",
        "With `lost_by`: tables, and columns, that have another name afterwards, which is no loss.",
        fields=("schema", "name", "column", "now"),
    ),
    "unseen": Output(
        "array",
        "With `lost_by`: what the scratch copy lacks. A table that it lacks, and that could be read, is in `tables`.",
        fields=("what", "reason"),
    ),
    "seen": Output("string", "With `lost_by`: which copy this was found in, and whether it had all rows or a sample."),
}

SMALL_PAGES = 1000
"""Rows are counted in tables of up to this many pages of 8 kB: 8 MB are read in a few ms."""

_TOLD = 100
"""Lines of losses, for a question and a report; `tables` has all of them."""

_AT_ONCE = 200
"""Tables asked about in one query: the server's lock table has room for 6400 objects by default."""


@dataclass(frozen=True, kw_only=True)
class Params:
    prefix: str = param("Tables whose names start with this.", default="", examples=["_cdc_"])
    glob: str = param("Tables whose whole names match this glob with `*`, `?` and `[abc]`.", default="")
    regex: str = param("Tables whose names match this PostgreSQL regular expression.", default="")
    names: tuple[str | int | Mapping[str, Any], ...] | None = param(
        "Exactly these tables, `name` or `schema.name`; all other selections are then ignored.", default=None
    )
    lost_by: tuple[str, ...] = param(
        "Tables that lose something when this program runs, by its argv: planrun runs it in a scratch copy.",
        default=(),
        examples=[["npx", "drizzle-kit", "migrate"], ["alembic", "upgrade", "head"]],
    )
    env: tuple[str, ...] = param(
        "With `lost_by`: names of environment variables that the program may see; those that hold an address lead to "
        "the copy. It always sees DATABASE_URL and PG* of the copy.",
        default=(),
        examples=[["NODE_ENV"]],
    )
    cwd: str = param(
        "With `lost_by`: the folder that the program runs in; by default, the plan's.", default="", path=True
    )
    fail_if_output: tuple[str, ...] = param(
        "With `lost_by`: the step fails if a line of the program's output matches one of these regular expressions "
        "(Python's), even if the exit code is 0.",
        default=(),
        examples=[["Interactive prompts require a TTY"]],
    )
    ignore_files: tuple[str, ...] = param(
        "With `lost_by`: files in `cwd`, as globs, that may name the address of the database because the program takes "
        "none from them. Any other file of settings that names it is refused.",
        default=(),
        examples=[["docker-compose.yml", "tests/*"]],
    )
    command_timeout: float = param(
        "With `lost_by`: how long the program may take in the copy. It has no terminal there.",
        default="10min",
        unit="duration",
        exclusiveMinimum=0,
    )
    whole_up_to: int = param(
        "With `lost_by`: the copy has all rows if the tables of the database, with indexes, take up to this size; of "
        "more, it has a sample.",
        default="256MB",
        unit="size",
        minimum=0,
    )
    sample: int = param(
        "With `lost_by`: how many rows of each table a sample has, besides those that their foreign keys name.",
        default=1000,
        minimum=1,
    )
    server: str = param(
        "With `lost_by`: a connection to a server where databases may be created, for the copy; by default, a private "
        "server on this machine.",
        default="",
        connection="named",
    )
    schemas: tuple[str, ...] | None = param(
        "Only tables in these schemas; by default, in every user schema.", default=None
    )
    exclude: tuple[str, ...] = param(
        "Leave out these tables: globs on `name` or on `schema.name`.",
        default=(),
        examples=[["schema_migrations", "tmp_*"]],
    )
    min_bytes: int | None = param("Only tables of at least this size.", default=None, unit="size", examples=["1MB"])
    max_bytes: int | None = param("Only tables of at most this size.", default=None, unit="size")
    missing: Literal["", "skip", "fail"] = param(
        "What to do if a table in `names` or a schema in `schemas` does not exist: `skip` leaves it out, `fail` fails. "
        "By default, a missing schema fails, and a missing table is left out unless a similar name exists.",
        default="",
    )
    allow_empty: bool = param(
        "Succeed even if no table is found; with `lost_by`, finding none always succeeds.", default=False
    )
    connection: str = param("The connection to use.", default="", connection=True)

    def __post_init__(self) -> None:
        if not (self.prefix or self.glob or self.regex or self.names is not None or self.lost_by):
            raise BadParam(
                (),
                "find_tables needs one of prefix, glob, regex, names, lost_by",
                hint="for every table: prefix: '' and glob: '*'",
                code="PR0119",
            )
        if self.lost_by and (self.prefix or self.glob or self.regex or self.names is not None):
            raise BadParam((), "give either `lost_by` or one of prefix, glob, regex, names", code="PR0119")
        if not self.lost_by and (self.env or self.cwd or self.fail_if_output or self.server):
            raise BadParam(
                (), "`env`, `cwd`, `fail_if_output` and `server` are for the program of `lost_by`", code="PR0119"
            )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """tables: those that were found; with `lost_by`, all that may turn out to lose something. size: in bytes."""

    tables: tuple[Mapping[str, Any], ...]
    left_out: tuple[Mapping[str, str], ...]
    size: int = 0
    relations: str = ""
    see: str = ""


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts:
    if params.missing != "skip":
        refuse_schemas_that_are_not_there(params.schemas or (), reader, params.connection)
    found = reader.rows(reader.sql("find_tables/find.sql.j2", **_selection(params)), connection=params.connection)
    listed = {TableName.of(row) for row in found}
    ours = _ours(params, reader)
    rows = [
        {**row, "reason": row["reason"] or ours.get(TableName.of(row), "")}
        for row in found
        if (row["root_schema"], row["root_name"]) not in listed
    ]
    left = [(row["schema"], row["name"], why) for row in rows if (why := _why_not(params, row))]
    taken = [row for row in rows if not _why_not(params, row)]
    missing = list(_missing_tables(params, listed))
    _refuse_missing(params, reader, missing)
    left += [(schema, name, "does not exist") for schema, name in missing]
    if not taken and not params.allow_empty and not params.lost_by:
        raise _nothing_found(params, reader, left)
    return Facts(
        tables=tuple(_with_rows(params, reader, taken)),
        left_out=tuple({"schema": schema, "name": name, "reason": why} for schema, name, why in left),
        size=sum(row["bytes"] for row in rows),
        relations=reader.sql("command/relations.sql.j2") if params.lost_by else "",
        see=reader.command("rehearse", "--rows", "all") if params.lost_by else "",
    )


def reads(params: Params, reader: CatalogReader) -> list[tuple[str, str, str]]:
    """Return connection, schema and name of the tables that are found, whether this role may read them or not."""
    rows = reader.rows(reader.sql("find_tables/find.sql.j2", **_selection(params)), connection=params.connection)
    return [(params.connection, row["schema"], row["name"]) for row in rows if not _why_not(params, row)]


def _ours(params: Params, reader: CatalogReader) -> dict[TableName, str]:
    """Return the tables that refreshes created or put aside here, with a description: from the ledger, or from their
    marker if the role may not read the ledger."""
    marked = reader.rows(reader.sql("find_tables/marked.sql.j2"), connection=params.connection)
    if not any(row["readable"] for row in marked):
        return {TableName.of(row): "marked as planrun's own" for row in marked}
    refreshes = ledger.read(lambda text: reader.rows(text, connection=params.connection), looking=True)
    leftover = set(ledger.leftover_oids(refreshes))
    return {
        member.place: f"planrun's own, of refresh {one.id}"
        for one in refreshes
        for member in one.members
        if member.oid in leftover and member.relation
    }


def _selection(params: Params) -> dict[str, Any]:
    names = [TableName.parse(name) for name in params.names or ()]
    return {
        "prefix": params.prefix,
        "regex": params.regex,
        "globs": [glob_regex(params.glob or "*")] if params.glob or params.lost_by else [],
        "listed": params.names is not None,
        "in_schemas": [schema for schema, _ in names],
        "names": [name for _, name in names],
        "everywhere": params.schemas is None,
        "schemas": list(params.schemas or ()),
        "excluded": [glob_regex(each) for each in params.exclude],
    }


def _why_not(params: Params, row: Mapping[str, Any]) -> str:
    if row["reason"]:
        return str(row["reason"])
    if params.min_bytes is not None and row["bytes"] < params.min_bytes:
        return f"smaller than {params.min_bytes} bytes"
    if params.max_bytes is not None and row["bytes"] > params.max_bytes:
        return f"larger than {params.max_bytes} bytes"
    return ""


def _missing_tables(params: Params, listed: set[TableName]) -> Iterator[TableName]:
    for schema, name in map(TableName.parse, params.names or ()):
        if not any(found == (schema or found[0], name) for found in listed):
            yield TableName(schema, name)


def _refuse_missing(params: Params, reader: CatalogReader, missing: Sequence[TableName]) -> None:
    """Raise PlanrunError for tables in `names` that do not exist, unless they are to be left out."""
    if params.missing == "skip" or not missing:
        return
    named = {name for _, name in map(TableName.parse, params.names or ())}
    others = {name for _, name in _every_table(params, reader)} - named
    nearest = {str(each): near(each[1], others) for each in missing}
    meant = [f"{name} (there is {shown_name('', other)})" for name, other in nearest.items() if other]
    if params.missing == "fail" or meant:
        raise PlanrunError(
            f"not found: {', '.join(meant or nearest)}",
            hint="correct the names, or write missing: skip to leave out what does not exist",
            code="PR0701",
        )


def _every_table(params: Params, reader: CatalogReader) -> list[TableName]:
    """Return (schema, name) of all tables in the chosen schemas."""
    everything = Params(glob="*", schemas=params.schemas, connection=params.connection)
    rows = reader.rows(reader.sql("find_tables/find.sql.j2", **_selection(everything)), connection=params.connection)
    return [TableName.of(row) for row in rows if not row["other"]]


def _with_rows(
    params: Params, reader: CatalogReader, taken: Sequence[Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """Yield the output for each table; `rows` is null for a table that this role cannot read."""
    known: dict[int, Mapping[str, Any]] = {}
    readable = [{**row, "at": at} for at, row in enumerate(taken) if row["readable"]]
    for start in range(0, len(readable), _AT_ONCE):
        some = readable[start : start + _AT_ONCE]
        small = [row for row in some if row["pages"] <= SMALL_PAGES]
        text = reader.sql("catalog/rows.sql.j2", small=small, large=[row for row in some if row not in small])
        known |= {row["at"]: row for row in reader.rows(text, connection=params.connection)}
    for at, row in enumerate(taken):
        counted = known.get(at, {"rows": None, "empty": False})
        rows = row["estimate"] if counted["rows"] is None else counted["rows"]
        yield {
            "schema": row["schema"],
            "name": row["name"],
            "rows": rows,
            "bytes": row["bytes"],
            "empty": counted["empty"],
        }


def _nothing_found(params: Params, reader: CatalogReader, left: Sequence[tuple[str, str, str]]) -> PlanrunError:
    reasons = "; ".join(f"{shown_name(schema, name)}: {why}" for schema, name, why in left)
    return PlanrunError(
        f"no table found ({_selector(params)}){_nearest(params, reader, left)}" + (f"; {reasons}" if reasons else ""),
        hint="correct the selection, or write allow_empty: true if an empty result is fine",
        code="PR0701",
    )


def _nearest(params: Params, reader: CatalogReader, left: Sequence[object]) -> str:
    """Return a text with the prefix that was perhaps meant, or that there is no table; "" if some matched but were left
    out."""
    if left:
        return ""
    every = _every_table(params, reader)
    if not every:
        where = f"schema {', '.join(params.schemas)}" if params.schemas else "this database"
        return f"; {where} has no table that this role can see"
    start = near_prefix(params.prefix, [name for _, name in every]) if params.prefix else ""
    meant = [shown_name(schema, name) for schema, name in every if start and name.startswith(start)]
    if not meant:
        return ""
    more = f" and {len(meant) - 3} more" if len(meant) > 3 else ""
    return f"; nearest is prefix {start!r}: {', '.join(meant[:3])}{more}"


def _selector(params: Params) -> str:
    how = [f"{word}: {value}" for word in ("prefix", "glob", "regex") if (value := getattr(params, word))]
    if params.names is not None:
        return f"names: {', '.join(map(str, params.names)) or '[]'}"
    return ", ".join(how)


# ------------------------------------------------------------------ render, give


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    if params.lost_by:
        refuse_bad_patterns(params.fail_if_output)
        return (
            Trial(
                argv=params.lost_by,
                connection=params.connection,
                query=facts.relations,
                env=params.env,
                cwd=params.cwd,
                fail_if_output=params.fail_if_output,
                ignored=params.ignore_files,
                rows=None if facts.size <= params.whole_up_to else params.sample,
                size=facts.size,
                server=params.server,
                timeout=params.command_timeout,
                see=facts.see,
            ),
        )
    rows = sum(table["rows"] or 0 for table in facts.tables)
    total = sum(table["bytes"] for table in facts.tables)
    head = f"{plural(len(facts.tables), 'table')}, {plural(rows, 'row')}, {size(total)}"
    found = [head if facts.tables else f"no table found ({_selector(params)})"]
    found += [f"{TableName.of(table)}{_row_count(table)}" for table in facts.tables]
    left = [f"! left out {TableName.of(each)}: {each['reason']}" for each in facts.left_out]
    return (Note(text="\n".join(found + left)),)


def _row_count(table: Mapping[str, Any]) -> str:
    if table["empty"]:
        return " (empty)"
    return "" if table["rows"] is None else f" ({plural(table['rows'], 'row')})"


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if params.lost_by:
        if not results or results[0] is None:
            return dict.fromkeys(OUTPUTS, UNKNOWN)
        return _outputs_of_trial(params, facts, results[0])
    tables = [{**table, "lost": ""} for table in facts.tables]
    unused = {"loses": False, "losses": "", "others": [], "renamed": [], "unseen": [], "seen": ""}
    return _outputs(tables, [dict(each) for each in facts.left_out]) | unused


def _outputs(tables: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {
        "tables": [dict(table) for table in tables],
        "count": len(tables),
        "filled": sum(not table["empty"] for table in tables),
        "rows": sum(table["rows"] or 0 for table in tables),
        "bytes": sum(table["bytes"] for table in tables),
        "left_out": list(left_out),
    }


def _outputs_of_trial(params: Params, facts: Facts, found: Result) -> Mapping[str, Any]:
    """Return the outputs: of what the program lost, the tables that the plan's other parameters let through."""
    lost = {TableName.of(each): "; ".join(each["lost"]) for each in found["tables"]}
    tables = [{**table, "lost": lost[TableName.of(table)]} for table in facts.tables if TableName.of(table) in lost]
    taken = {TableName.of(table) for table in tables}
    reasons = {TableName.of(each): each["reason"] for each in facts.left_out}
    left = [
        {"schema": name.schema, "name": name.name, "reason": f"{reasons.get(name, 'not found')}; would lose: {what}"}
        for name, what in lost.items()
        if name not in taken
    ]
    lines = [f"{TableName.of(table)}{_row_count(table)}: {table['lost']}" for table in tables]
    lines += [f"{TableName.of(each)}, left out: {each['reason']}" for each in left]
    lines += [f"{each['kind']} {_object_name(each)}: dropped, in no backup of tables" for each in found["others"]]
    rest = {name: found[name] for name in ("others", "renamed", "unseen")}
    seen = f"a scratch copy with {_rows_seen(params, found)} ({found['copy']})"
    return _outputs(tables, left) | rest | {"loses": bool(lines), "losses": _shorten(lines), "seen": seen}


def _shorten(lines: Sequence[str]) -> str:
    more = [f"... and {len(lines) - _TOLD:,} more"] if len(lines) > _TOLD else []
    return "\n".join([*lines[:_TOLD], *more])


def _object_name(one: Mapping[str, str]) -> str:
    """Return the name of an object; that of a function has its arguments and is no identifier."""
    if "(" in one["name"]:
        return f"{shown_name('', one['schema'])}.{one['name']}"
    return shown_name(one["schema"], one["name"])


def _rows_seen(params: Params, found: Result) -> str:
    if not found["sampled"]:
        return "all rows"
    return (
        f"a sample of {params.sample:,} rows of each table: numbers are those of the sample, "
        "and new types may change values of other rows"
    )


def expires(outputs: Mapping[str, Any]) -> bool:
    """Return whether a later attempt may not rest on this: what a command loses, as it may be mended meanwhile."""
    return bool(outputs.get("seen"))


def check_earlier(outputs: Mapping[str, Any], reader: CatalogReader) -> str:
    """Return why what an earlier attempt found out about a command is no basis to go on with; "" where it is one."""
    if not expires(outputs):
        return ""
    return "the earlier attempt found what the command loses; the command, or the database, may be another one now"
