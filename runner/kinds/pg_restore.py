"""Restore tables of a backup session in one transaction, and compare them with the snapshot before it commits.

planrun first reads the session to its end. It refuses if a table already exists, unless `as_schema` puts the restored
tables into another schema, or `replace` drops the old tables in the same transaction, never with CASCADE.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from runner.errors import PlanrunError
from runner.fates import Fate, ObjectFate, Preview
from runner.kinds.base import (
    CatalogReader,
    Output,
    Prospect,
    Render,
    SqlReader,
    param,
    tables_given,
)
from runner.losses import Loss
from runner.model import UNKNOWN, Action, Check, Note, Restore, Result
from runner.names import is_session_name, literally, near, pattern
from runner.record import dataclass
from runner.refresh.row_counts import RowCount, table_counts
from runner.session_facts import newest, refuse_damaged
from runner.table_name import TableName
from runner.values import has_unknown
from runner.words import shown_name

CHANGES = True

OUTPUTS: Mapping[str, Output] = {
    "session": Output("string", "The session folder that was restored."),
    "tables": Output("array", "What was restored.", fields=("schema", "name", "rows")),
    "count": Output("integer", "How many tables were restored."),
    "rows": Output("integer", "The number of rows in all tables.", measure="rows"),
    "made": Output("array", "What planrun created because the tables need it: schemas, types, functions."),
    "left": Output("array", "What could not be restored as it was, each as a text."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    from_: str = param(
        "A session folder, or a folder of sessions; in the latter, the newest session, which must not be damaged.",
        path=True,
        minLength=1,
    )
    tables: tuple[str | int | Mapping[str, Any], ...] | None = param(
        "Tables: `name`, `schema.name`, or what find_tables gives; by default, all tables of the session.", default=None
    )
    as_schema: str = param("Put the tables into this schema, next to the existing ones.", default="", maxLength=63)
    replace: bool = param("Drop the tables of the same names in the same transaction.", default=False)
    owners: bool = param("Restore owners and grants as well; their roles must exist.", default=True)
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The session folder, the tables to restore from it, and those that `replace` would drop."""

    session: str
    tables: tuple[TableName, ...]
    there: frozenset[TableName]


def look(params: Params, reader: CatalogReader) -> Facts:
    if params.as_schema and params.replace:
        raise PlanrunError("pg_restore takes `as_schema` or `replace`, not both", code="PR0119")
    session = _session(params, reader)
    tables = _choose(params, session, reader.tables_of(session))
    return Facts(session=session, tables=tables, there=_there(params, tables, reader))


def _there(params: Params, tables: Sequence[TableName], reader: CatalogReader) -> frozenset[TableName]:
    """Return the tables that `replace` would drop."""
    if not params.replace or not tables:
        return frozenset()
    schemas, names = zip(*tables, strict=True)
    text = reader.sql("catalog/named.sql.j2", schemas=list(schemas), names=list(names))
    return frozenset(TableName.of(row) for row in reader.rows(text, connection=params.connection))


def _session(params: Params, reader: CatalogReader) -> str:
    folder = Path(params.from_)
    if is_session_name(folder.name):
        return str(folder)
    every = reader.sessions(params.from_)
    chosen = newest(every, reader.start_time, params.from_)
    refuse_damaged(chosen, every, reader.start_time, params.from_)
    return str(folder / chosen.name)


def _choose(params: Params, session: str, held: tuple[TableName, ...]) -> tuple[TableName, ...]:
    """Return the tables to restore. Raises PlanrunError for one that the session does not contain."""
    if params.tables is None:
        return held
    found: list[TableName] = []
    for given in map(TableName.parse, params.tables):
        same = [table for table in held if table[1] == given[1] and given[0] in ("", table[0])]
        if not same:
            meant = near(given[1], (name for _, name in held))
            known = ", ".join(str(each) for each in held[:20]) + (", ..." if len(held) > 20 else "")
            hint = f"did you mean {shown_name('', meant)}?" if meant else f"there are: {known}"
            raise PlanrunError(f"table {given} is not in this session", where=session, hint=hint, code="PR0605")
        found += same
    return tuple(found)


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    if not facts.tables:
        return (Note(text="nothing to restore: `tables:` is an empty list", idle=True),)
    schemas = [params.as_schema or schema for schema, _ in facts.tables]
    text = sql(
        "pg_restore/in_the_way.sql.j2",
        schemas=schemas,
        names=[name for _, name in facts.tables],
        new=sorted(set(schemas)),
        replace=params.replace,
    )
    return (
        Check(text=text, connection=params.connection, hint=_HINT),
        Restore(
            session=facts.session,
            connection=params.connection,
            tables=tuple(map(_pattern, params.tables or ())),
            schema=params.as_schema,
            replace=params.replace,
            owners=params.owners,
        ),
    )


_HINT = (
    "restore beside the existing tables with --as-schema NAME (`as_schema:`), or replace them with --replace "
    "(`replace: true`); each missing right shows the command that grants it"
)


def _pattern(table: str | int | Mapping[str, Any]) -> str:
    schema, name = TableName.parse(table)
    return pattern(schema, name) if schema else literally(name)


def fates(params: Params, facts: Facts) -> Iterator[ObjectFate]:
    for table in facts.tables:
        yield ObjectFate(
            kind="table",
            name=str(TableName(params.as_schema or table.schema, table.name)),
            fate=Fate.REPLACED if table in facts.there else Fate.ADDED,
        )


def _with_rows(fates: Iterable[ObjectFate], counts: Mapping[TableName, RowCount]) -> Iterator[ObjectFate]:
    rows = {str(table): count for table, count in counts.items()}
    for one in fates:
        yield replace(one, rows=rows[one.name].rows, exact=rows[one.name].exact) if one.name in rows else one


def preview(prospect: Prospect) -> Preview | None:
    """Preview the tables to restore, also from a session that an earlier step will make."""
    if prospect.facts is not None:
        ask = partial(prospect.reader.rows, connection=prospect.params.connection)
        counts = table_counts(sorted(prospect.facts.there), ask, prospect.reader.sql)
        return Preview(objects=tuple(_with_rows(fates(prospect.params, prospect.facts), counts)))
    saved = next(prospect.before("pg_dump"), None)
    wanted = prospect.values.get("tables")
    if prospect.params is not None or saved is None or has_unknown(wanted):
        return None
    held = [TableName.parse(one.name) for one in saved.objects if one.fate is Fate.SAVED]
    if wanted is not None:
        names = [TableName.parse(each) for each in wanted]
        held = [
            table for table in held if any(table == TableName(one.schema or table.schema, one.name) for one in names)
        ]
    replaces, schema = prospect.values.get("replace"), prospect.values.get("as_schema")
    return Preview(
        objects=tuple(
            ObjectFate(
                kind="table",
                name=str(TableName(str(schema or table.schema), table.name)),
                fate=Fate.REPLACED if replaces else Fate.ADDED,
            )
            for table in held
        ),
        lines=("restores, in one transaction, the session that an earlier step makes",),
    )


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    result = results[-1] if results else None
    if not facts.tables:
        return {"session": facts.session, "tables": [], "count": 0, "rows": 0, "made": [], "left": []}
    if result is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN) | {"session": facts.session}
    return {name: result[name] for name in OUTPUTS}


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    if given.get("replace", False) is False:
        return ()
    tables = tables_given(given.get("tables"))
    return (Loss(what="pg_restore with `replace`", tables=tables, place=given.get("connection", "")),)
