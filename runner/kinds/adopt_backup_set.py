"""Register tables that an older tool put aside as a backup set, which planrun can then list, verify and drop.

Name each table: no pattern finds any. The tables keep their names and rows. Each gets the marker as its comment, and
the ledger keeps the old comment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.errors import PlanrunError
from runner.kinds.base import CatalogReader, LockParams, Output, Render, param
from runner.model import Action, Exchange, Note, Result
from runner.record import dataclass
from runner.refresh import ledger, planrun_schema
from runner.refresh.catalog import rights
from runner.refresh.ledger import Member
from runner.refresh.naming import PREFIX
from runner.refresh.records import MemberRecord
from runner.sqltext import idents, literal, qualified
from runner.table_name import TableName
from runner.words import PLAN, plural, shown_name, size

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "set": Output("string", "The id of the set; empty if the tables were already adopted."),
    "tables": Output(
        "array", "The tables that were adopted; `of` is the table that each backs up.", fields=("schema", "name", "of")
    ),
    "count": Output("integer", "How many tables were adopted."),
}

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Params(LockParams):
    tables: tuple[str | Mapping[str, Any], ...] = param(
        "The tables: `backup_<Name>`, or a mapping of `table` and `of`, the table that it backs up.",
        minItems=1,
        examples=[["backup_Area", {"table": "old_users", "of": "users"}]],
    )
    schema: str = param("The schema of the tables.", default="public", minLength=1)
    plan: str = param("The plan that owns the backup set; by default, this plan.", default="")
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is adopted: rows of tables.sql.j2 with `of`. id: of the set, "" if there is nothing to do. ddl: creates the
    ledger."""

    id: str
    plan: str
    now: datetime
    ddl: str
    tables: tuple[Row, ...]


# ------------------------------------------------------------------ look


def look(params: Params, reader: CatalogReader) -> Facts:
    def ask(text: str) -> list[dict[str, Any]]:
        return reader.rows(text, connection=params.connection)

    wanted = dict(_table_and_origin(given, params.schema) for given in params.tables)
    rights.refuse_without(ask, reader.sql, use=[params.schema])
    text = reader.sql("adopt_backup_set/tables.sql.j2", names=list(wanted), schema=params.schema)
    rows = tuple({**row, "of": wanted[row["name"]]} for row in ask(text))
    refreshes = ledger.read(ask)
    ddl = planrun_schema.create("ledger", planrun_schema.check(ask))
    facts = Facts(id="", plan=params.plan or reader.plan, now=reader.start_time, ddl=ddl, tables=rows)
    if _is_adopted(refreshes, rows):
        return facts
    _refuse(params, refreshes, rows)
    return Facts(**{**vars(facts), "id": f"adopted-{reader.start_time:%Y%m%dT%H%M%SZ}"})


def _table_and_origin(given: str | Mapping[str, Any], schema: str) -> tuple[str, str]:
    """Return a table's name, and that of the table whose backup it is. Raises PlanrunError if that is unclear."""
    if isinstance(given, Mapping) and isinstance(given.get("table"), str):
        where, name = TableName.parse(given["table"])
        of = str(given.get("of") or name.removeprefix(PREFIX))
    else:
        where, name = TableName.parse(given)
        of = name.removeprefix(PREFIX)
    if where not in ("", schema):
        raise PlanrunError(f"{shown_name(where, name)} is not in schema {schema}", hint="give `schema:`", code="PR0820")
    if of == name:
        raise PlanrunError(
            f"planrun cannot tell which table this is a backup of: {shown_name('', name)}",
            hint=f"in the plan, write {{table: {name}, of: NAME}}; on the command line, {name}=NAME",
            code="PR0820",
        )
    return name, of


def _is_adopted(refreshes: Sequence[ledger.Refresh], rows: Sequence[Row]) -> bool:
    """Return whether all of them are members of one set already, so that there is nothing to do."""
    oids = {row["oid"] for row in rows}
    return any(oids == {member.oid for member in one.side("old")} for one in refreshes if one.record.adopted)


def _refuse(params: Params, refreshes: Sequence[ledger.Refresh], rows: Sequence[Row]) -> None:
    """Raise PlanrunError for all that cannot be adopted."""
    members = {member.oid: one.id for one in refreshes for member in one.members if member.there}
    wrong = [(row["name"], row["reason"]) for row in rows if row["reason"]]
    wrong += [(row["name"], f"belongs to {members[row['oid']]} already") for row in rows if row["oid"] in members]
    if wrong:
        told = "; ".join(f"{shown_name(params.schema, name)} {reason}" for name, reason in dict(wrong).items())
        raise PlanrunError(
            f"cannot adopt: {told}", hint="name plain tables that no swap of planrun put aside", code="PR0820"
        )
    if other := ledger.find(refreshes, schema=params.schema, states=("swapped",)):
        raise PlanrunError(
            f"schema {shown_name('', params.schema)} has a backup set already: {other.id}",
            hint=f"there is one set for each schema: planrun backups prune {PLAN} SET drops it",
            code="PR0820",
        )


# ------------------------------------------------------------------ render


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    if not facts.id:
        return (Note(text="adopted already: nothing to do", idle=True),)
    names = [row["name"] for row in facts.tables]
    oids = [row["oid"] for row in facts.tables]
    listed = idents([{"schema": params.schema, "name": row["name"]} for row in sorted(facts.tables, key=_oid)])
    adopt = Exchange(
        connection=params.connection,
        what=f"adopt {plural(len(names), 'table')} of schema {shown_name('', params.schema)} as a backup set",
        locks=f"lock table {listed} in share update exclusive mode",
        check=sql("adopt_backup_set/same.sql.j2", oids=oids, names=names, schema=params.schema),
        text=_text(params, facts),
        lock_timeout=params.lock_timeout,
        deadline=params.deadline,
        hold_timeout=params.hold_timeout,
    )
    return Note(text="\n".join(_line(params, row) for row in facts.tables)), adopt


def _oid(row: Row) -> int:
    return int(row["oid"])


def _line(params: Params, row: Row) -> str:
    rows = "" if row["estimate"] is None else f", about {plural(row['estimate'], 'row')}"
    of = shown_name(params.schema, row["of"])
    return f"{shown_name(params.schema, row['name'])}: backup of {of}{rows}, {size(row['bytes'])}"


def _text(params: Params, facts: Facts) -> str:
    statements = [
        facts.ddl.strip().rstrip(";"),
        ledger.begin(facts.id, facts.plan, params.schema, "", ""),
        ledger.note(facts.id, adopted=True),
        ledger.add_members(facts.id, (_member(params, row) for row in facts.tables)),
        *(_mark(params, facts, row) for row in facts.tables),
        ledger.set_state(facts.id, "swapped"),
    ]
    return "".join(f"{statement};\n" for statement in statements if statement)


def _member(params: Params, row: Row) -> Member:
    record = MemberRecord(comment=row["comment"], aside=TableName(params.schema, row["name"]))
    return Member(
        side="old",
        catalog="pg_class",
        oid=row["oid"],
        kind="table",
        schema=params.schema,
        name=row["of"],
        record=record,
    )


def _mark(params: Params, facts: Facts, row: Row) -> str:
    told = f"{ledger.marker(facts.id)} {shown_name(params.schema, row['of'])} as an older tool put it aside"
    return f"comment on table {qualified(params.schema, row['name'])} is {literal(told)}"


# ------------------------------------------------------------------ give


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    tables = [{"schema": params.schema, "name": row["name"], "of": row["of"]} for row in facts.tables]
    return {"set": facts.id, "tables": tables, "count": len(tables)}
