"""The record of refreshes in schema planrun of the target: which objects are ours, by OID and by a marker on them.

An object whose OID is here but which lacks the marker is not touched: a database restored from a dump has other
objects under the same OIDs. OIDs are read from the catalog in the same transaction that writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runner.errors import PlanrunError
from runner.refresh import access, schema_ownership
from runner.sqltext import SqlText, literal
from runner.words import json_text, one_line

Ask = Callable[[str], Sequence[Mapping[str, Any]]]

_TABLES = """
create table if not exists planrun.refresh (
    id text primary key,
    plan text not null,
    schema text not null,
    shadow text not null,
    state text not null check (state in ('loading', 'loaded', 'swapped', 'undone')),
    made timestamptz not null default pg_catalog.clock_timestamp(),
    swapped timestamptz,
    source jsonb not null default '{}',
    about jsonb not null default '{}'
);
comment on table planrun.refresh is 'planrun: one row for each refresh: shadow tables, or the backup set of a swap';
create table if not exists planrun.member (
    refresh text not null references planrun.refresh (id) on delete cascade,
    side text not null check (side in ('new', 'old')),
    catalog text not null check (catalog in ('pg_class', 'pg_proc', 'pg_statistic_ext')),
    oid oid not null,
    kind text not null,
    schema text not null,
    name text not null,
    about jsonb not null default '{}',
    primary key (refresh, side, catalog, oid)
);
comment on table planrun.member is 'planrun: the objects of a refresh by OID; schema and name are the live ones';
"""


def leftover_oids(refreshes: Iterable[Refresh]) -> list[int]:
    """Return the OIDs of the relations and functions that are not live: sets put aside, of any plan, and shadows."""
    return sorted(
        {
            member.oid
            for one in refreshes
            for member in one.side("old" if one.state == "swapped" else "new")
            if member.there and (member.relation or member.kind in ("function", "sequence"))
        }
    )


def tables(*, schema_there: bool) -> SqlText:
    """Return SQL that makes the tables of the ledger, and the schema where that is not there: it takes CREATE on the
    database also when it is."""
    made = SqlText("") if schema_there else SqlText(f"{access.make_schema('planrun')};")
    return SqlText(f"{made}{_TABLES}{access.close('planrun', 'refresh', 'member')};\n")


THERE = "select pg_catalog.to_regclass('planrun.member') is not null as there"

_REFRESHES = """
select r.id, r.plan, r.schema, r.shadow, r.state, r.made, r.swapped, r.source, r.about,
       coalesce((
           select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m) - 'refresh' order by m.side, m.schema, m.name)
           from (
               select m.*, coalesce(n.nspname, fn.nspname, sn.nspname)::text as now_schema,
                      coalesce(c.relname, f.proname, s.stxname)::text as now_name,
                      pg_catalog.pg_get_function_identity_arguments(f.oid) as arguments,
                      case when c.relkind in ('r', 'p', 'm')
                           then pg_catalog.pg_total_relation_size(c.oid) end as bytes,
                      case when c.relkind in ('r', 'p', 'v', 'm', 'f') then
                          coalesce(pg_catalog.starts_with(
                              pg_catalog.obj_description(c.oid, 'pg_class'), 'planrun refresh ' || m.refresh || ':'
                          ), false)
                          or coalesce(pg_catalog.starts_with(
                              pg_catalog.obj_description(c.relnamespace, 'pg_namespace'),
                              'planrun refresh ' || m.refresh || ':'
                          ), false)
                      end as marked
               from planrun.member as m
               left join pg_catalog.pg_class as c on m.catalog = 'pg_class' and c.oid = m.oid
               left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
               left join pg_catalog.pg_proc as f on m.catalog = 'pg_proc' and f.oid = m.oid
               left join pg_catalog.pg_namespace as fn on fn.oid = f.pronamespace
               left join pg_catalog.pg_statistic_ext as s on m.catalog = 'pg_statistic_ext' and s.oid = m.oid
               left join pg_catalog.pg_namespace as sn on sn.oid = s.stxnamespace
               where m.refresh = r.id
           ) as m
       ), '[]') as members
from planrun.refresh as r
order by r.made, r.id
"""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One object of a refresh. `schema` and `name` are what it is called when it is live.

    now_schema, now_name: what it is called now, "" when it is gone; arguments: those of a function. marked: it, or the
    schema it is in, carries the marker of its refresh; None where none is ever put (indexes, sequences, functions).
    """

    side: str
    catalog: str
    oid: int
    kind: str
    schema: str
    name: str
    about: Mapping[str, Any] = field(default_factory=dict)
    now_schema: str = ""
    now_name: str = ""
    arguments: str = ""
    bytes: int = 0
    marked: bool | None = None

    @property
    def there(self) -> bool:
        return bool(self.now_name)

    @property
    def relation(self) -> bool:
        return self.kind in ("table", "view", "matview")


@dataclass(frozen=True, kw_only=True)
class Refresh:
    id: str
    plan: str
    schema: str
    shadow: str
    state: str
    made: datetime
    swapped: datetime | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()

    def side(self, side: str) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.side == side)


def read(ask: Ask, *, looking: bool = False) -> tuple[Refresh, ...]:
    """Return all refreshes of a database, oldest first. `ask` runs a query of ours and returns its rows.

    looking: they are only shown, so that a role which may read them sees those of another one.

    Raises PlanrunError for a row that somebody else has changed, TargetError when the tables are another role's.
    """
    schema_ownership.refuse_foreign(ask, looking=looking)
    if not ask(THERE)[0]["there"]:
        return ()
    return tuple(_refresh(row) for row in ask(_REFRESHES))


def find(refreshes: Iterable[Refresh], *, schema: str = "", states: Sequence[str]) -> Refresh | None:
    """Return the newest refresh of a schema (of any when "") in one of these states."""
    found = [one for one in refreshes if one.state in states and schema in ("", one.schema)]
    return found[-1] if found else None


def _refresh(row: Mapping[str, Any]) -> Refresh:
    for column in ("source", "about"):
        _check_shape(row[column], f"{column} of refresh {row['id']}")
    members = tuple(map(_member, row["members"]))
    return Refresh(**{**row, "members": members, "about": _with_xids(row["about"], members)})


def _check_shape(data: Any, what: str) -> None:
    if not isinstance(data, Mapping) or not isinstance(data.get("xids", []), list):
        hint = "put back what planrun wrote there: select * from planrun.refresh join planrun.member on refresh = id"
        raise PlanrunError(f"the ledger in schema planrun was changed by hand: {one_line(what)}", hint=hint)


def _with_xids(about: Mapping[str, Any], members: Iterable[Member]) -> Mapping[str, Any]:
    """Add the transactions that wrote into one table, which are kept with it, to those of the whole refresh."""
    own = [xid for member in members for xid in member.about.get("xids", ())]
    return {**about, "xids": [*about.get("xids", ()), *own]} if own else about


def _member(row: Mapping[str, Any]) -> Member:
    _check_shape(row["about"], f"about of member {row['schema']}.{row['name']}")
    given = {key: row[key] for key in ("side", "catalog", "kind", "schema", "name", "about", "marked")}
    return Member(
        **given,
        oid=int(row["oid"]),
        now_schema=row["now_schema"] or "",
        now_name=row["now_name"] or "",
        arguments=row["arguments"] or "",
        bytes=int(row["bytes"] or 0),
    )


# ------------------------------------------------------------------ SQL that writes it


MARK = "planrun refresh "


def marker(refresh: str) -> str:
    """Return what the comment of each relation that is ours begins with (the rest is for people)."""
    return f"{MARK}{refresh}:"


def begin(refresh: str, plan: str, schema: str, shadow: str, source: Mapping[str, Any]) -> SqlText:
    values = ", ".join([*map(literal, (refresh, plan, schema, shadow)), "'loading'", _json(source)])
    return SqlText(f"insert into planrun.refresh (id, plan, schema, shadow, state, source) values ({values})")


def note(refresh: str, about: Mapping[str, Any]) -> SqlText:
    """Return SQL that puts these keys into `about`; others stay."""
    return SqlText(f"update planrun.refresh set about = about || {_json(about)} where id = {literal(refresh)}")


def set_state(refresh: str, state: str) -> SqlText:
    swapped = ", swapped = pg_catalog.clock_timestamp()" if state == "swapped" else ""
    return SqlText(f"update planrun.refresh set state = {literal(state)}{swapped} where id = {literal(refresh)}")


def add_members(refresh: str, members: Iterable[Member]) -> SqlText:
    """Return SQL that records members; one that is there already gets the new `about`."""
    rows = ",\n    ".join(_values(refresh, member) for member in members)
    return SqlText(
        "insert into planrun.member (refresh, side, catalog, oid, kind, schema, name, about) values\n    "
        f"{rows}\non conflict (refresh, side, catalog, oid) do update set about = member.about || excluded.about"
    )


def forget(refresh: str) -> SqlText:
    return SqlText(f"delete from planrun.refresh where id = {literal(refresh)}")


def _values(refresh: str, member: Member) -> str:
    texts = (refresh, member.side, member.catalog, member.oid, member.kind, member.schema, member.name)
    return f"({', '.join(map(literal, texts))}, {_json(member.about)})"


def as_json(data: Mapping[str, Any]) -> str:
    return json_text(dict(data))


def _json(data: Mapping[str, Any]) -> str:
    return f"{literal(as_json(data))}::pg_catalog.jsonb"
