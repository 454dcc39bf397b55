"""The record of refreshes in schema planrun of the target: which objects are planrun's, by OID and by a marker on them.

planrun does not touch an object whose OID is here but which lacks the marker: a database restored from a dump has other
objects under the same OIDs. OIDs are read from the catalog in the same transaction that writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any, TypeVar

from runner import sqlfile
from runner.errors import PlanrunError
from runner.record import dataclass
from runner.refresh import planrun_schema
from runner.refresh.records import VERSION, MemberRecord, NewerRecordError, RecordError, RefreshRecord
from runner.sqltext import SqlText, literal
from runner.table_name import Named, TableName
from runner.words import json_text, one_line

Ask = Callable[[str], Sequence[Mapping[str, Any]]]
T = TypeVar("T")

_REFRESHES = sqlfile.read("planrun/refreshes.sql")


def leftover_oids(refreshes: Iterable[Refresh]) -> list[int]:
    """Return the OIDs of the relations and functions that are not live: backup sets and shadow tables of all plans."""
    return sorted(
        {
            member.oid
            for one in refreshes
            for member in one.side("old" if one.state == "swapped" else "new")
            if member.there and (member.relation or member.kind in ("function", "sequence"))
        }
    )


@dataclass(frozen=True, kw_only=True)
class Member(Named):
    """One object of a refresh. `schema` and `name` are its live name.

    now_schema, now_name: its current name, "" when it is gone; arguments: those of a function. marked: it, or the
    schema it is in, carries the marker of its refresh; None where none is ever put (indexes, sequences, functions).
    """

    side: str
    catalog: str
    oid: int
    kind: str
    schema: str
    name: str
    record: MemberRecord = field(default_factory=MemberRecord)
    now_schema: str = ""
    now_name: str = ""
    arguments: str = ""
    bytes: int = 0
    marked: bool | None = None

    @property
    def place(self) -> TableName:
        """Its current schema and name."""
        return TableName(self.now_schema, self.now_name)

    @property
    def there(self) -> bool:
        return bool(self.now_name)

    @property
    def relation(self) -> bool:
        return self.kind in ("table", "view", "matview")


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """One load or adopted set. source: the connection that it was loaded from, "" for an adopted one."""

    id: str
    plan: str
    schema: str
    shadow: str
    state: str
    made: datetime
    swapped: datetime | None = None
    source: str = ""
    record: RefreshRecord = field(default_factory=RefreshRecord)
    members: tuple[Member, ...] = ()

    def side(self, side: str) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.side == side)


def read(ask: Ask, *, looking: bool = False) -> tuple[Refresh, ...]:
    """Return all refreshes of a database, oldest first. `ask` runs one of planrun's queries and returns its rows.

    looking: the refreshes are only shown, so a role may see those of another role if it may read them.

    Raises PlanrunError for a row that was changed by hand, TargetError if the tables belong to another role or are
    newer.
    """
    if not planrun_schema.check(ask, looking=looking).ledger:
        return ()
    return tuple(_refresh(row) for row in ask(_REFRESHES))


def find(refreshes: Iterable[Refresh], *, schema: str = "", states: Sequence[str]) -> Refresh | None:
    """Return the newest refresh of a schema (of any when "") in one of these states."""
    found = [one for one in refreshes if one.state in states and schema in ("", one.schema)]
    return found[-1] if found else None


def _refresh(row: Mapping[str, Any]) -> Refresh:
    members = tuple(map(_member, row["members"]))
    what = f"of refresh {row['id']}"
    record = _read_record(RefreshRecord.from_json, row["about"], f"about {what}")
    source = _read_record(_source, row["source"], f"source {what}")
    given = {name: row[name] for name in ("id", "plan", "schema", "shadow", "state", "made", "swapped")}
    return Refresh(**given, source=source, record=_with_xids(record, members), members=members)


def _read_record(read: Callable[[Any], T], data: Any, what: str) -> T:
    try:
        return read(data)
    except RecordError as exc:
        raise PlanrunError(
            f"the ledger in schema planrun was changed by hand: {one_line(what)}: {one_line(str(exc))}",
            hint="restore what planrun wrote there: select * from planrun.refresh join planrun.member on refresh = id",
            code="PR0412",
        ) from exc
    except NewerRecordError as exc:
        raise PlanrunError(
            f"a newer planrun wrote {one_line(what)} in schema planrun: version {exc}, but this planrun knows "
            f"only {VERSION}",
            hint="use that planrun or a newer one here: pip install --upgrade planrun",
            code="PR0412",
        ) from exc


def _source(data: Any) -> str:
    connection = data.get("connection", "") if isinstance(data, Mapping) else None
    if not isinstance(connection, str):
        raise RecordError("connection")
    return connection


def _with_xids(record: RefreshRecord, members: Iterable[Member]) -> RefreshRecord:
    """Add the transactions that wrote into single tables, which are kept with the members, to those of the refresh."""
    own = tuple(xid for member in members for xid in member.record.xids)
    return replace(record, xids=(*record.xids, *own))


def _member(row: Mapping[str, Any]) -> Member:
    record = _read_record(MemberRecord.from_json, row["about"], f"about of member {row['schema']}.{row['name']}")
    given = {key: row[key] for key in ("side", "catalog", "kind", "schema", "name", "marked")}
    return Member(
        **given,
        record=record,
        oid=int(row["oid"]),
        now_schema=row["now_schema"] or "",
        now_name=row["now_name"] or "",
        arguments=row["arguments"] or "",
        bytes=int(row["bytes"] or 0),
    )


# ------------------------------------------------------------------ SQL that writes it


MARK = "planrun refresh "


def marker(refresh: str) -> str:
    """Return the beginning of the comment on each of planrun's relations (the rest is for people)."""
    return f"{MARK}{refresh}:"


def begin(refresh: str, plan: str, schema: str, shadow: str, source: str) -> SqlText:
    """Return SQL that records a refresh. source: the connection that it is loaded from, "" for an adopted set."""
    told = {"connection": source} if source else {}
    texts = [*map(literal, (refresh, plan, schema, shadow)), "'loading'", _json(told), _json({"version": VERSION})]
    return SqlText(
        f"insert into planrun.refresh (id, plan, schema, shadow, state, source, about) values ({', '.join(texts)})"
    )


def note(refresh: str, **changes: Any) -> SqlText:
    """Return SQL that records these fields of RefreshRecord; others stay. Raises TypeError for an unknown field."""
    data = RefreshRecord(**changes).to_json()
    told = _json({name: data[name] for name in changes})
    return SqlText(f"update planrun.refresh set about = about || {told} where id = {literal(refresh)}")


def set_state(refresh: str, state: str) -> SqlText:
    swapped = ", swapped = pg_catalog.clock_timestamp()" if state == "swapped" else ""
    return SqlText(f"update planrun.refresh set state = {literal(state)}{swapped} where id = {literal(refresh)}")


def add_members(refresh: str, members: Iterable[Member]) -> SqlText:
    """Return SQL that records members; a member that exists already gets the new record."""
    rows = ",\n    ".join(_values(refresh, member) for member in members)
    return SqlText(
        "insert into planrun.member (refresh, side, catalog, oid, kind, schema, name, about) values\n    "
        f"{rows}\non conflict (refresh, side, catalog, oid) do update set about = excluded.about"
    )


def move_member(refresh: str, member: Member, aside: TableName) -> SqlText:
    """Return SQL that records the new name of an object that is put aside."""
    return SqlText(
        f"update planrun.member set about = about || {_json(MemberRecord(aside=aside).to_json())} "
        f"where refresh = {literal(refresh)} and side = {literal(member.side)} "
        f"and catalog = {literal(member.catalog)} and oid = {member.oid}"
    )


def forget(refresh: str) -> SqlText:
    return SqlText(f"delete from planrun.refresh where id = {literal(refresh)}")


def _values(refresh: str, member: Member) -> str:
    texts = (refresh, member.side, member.catalog, member.oid, member.kind, member.schema, member.name)
    return f"({', '.join(map(literal, texts))}, {_json(member.record.to_json())})"


def as_json(data: Mapping[str, Any]) -> str:
    return json_text(dict(data))


def _json(data: Mapping[str, Any]) -> str:
    return f"{literal(as_json(data))}::pg_catalog.jsonb"
