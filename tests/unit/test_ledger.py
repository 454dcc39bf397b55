"""The record of refreshes: what is written is read back, with where each object is now and whether it is marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner.errors import PlanrunError
from runner.refresh import ledger, planrun_schema
from runner.refresh.ledger import Member, Refresh
from runner.refresh.records import MemberRecord, RefreshRecord
from runner.table_name import TableName

Conn = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def conn(db: str) -> Iterator[Conn]:
    with psycopg.Connection[dict[str, Any]].connect(db, autocommit=True, row_factory=dict_row) as opened:
        opened.execute("set search_path = ''")
        yield opened


def ask(conn: Conn) -> ledger.Ask:
    return lambda text: conn.execute(text).fetchall()


def oid(conn: Conn, name: str) -> int:
    row = conn.execute("select %s::regclass::oid::bigint as oid", (name,)).fetchone()
    assert row
    return int(row["oid"])


def make_refresh(conn: Conn, name: str = "r1", state: str = "loaded") -> Refresh:
    conn.execute(planrun_schema.create("ledger"))
    conn.execute(ledger.begin(name, "prod", "public", "planrun_shadow_public", "d\\'\n"))
    conn.execute(ledger.set_state(name, state))
    return next(one for one in ledger.read(ask(conn)) if one.id == name)


def test_there_is_nothing_before_the_first(conn: Conn) -> None:
    assert ledger.read(ask(conn)) == ()
    conn.execute(planrun_schema.create("ledger"))
    conn.execute(planrun_schema.create("ledger"))
    assert ledger.read(ask(conn)) == ()


def test_what_is_written_is_read_back(conn: Conn) -> None:
    found = make_refresh(conn)
    assert (found.plan, found.schema, found.state, found.members) == ("prod", "public", "loaded", ())
    assert found.source == "d\\'\n" and found.swapped is None
    conn.execute(ledger.note("r1", xids=("1",), lose=("view v",)))
    conn.execute(ledger.note("r1", xids=("1", "2")))
    conn.execute(ledger.set_state("r1", "swapped"))
    (found,) = ledger.read(ask(conn))
    assert found.record == RefreshRecord(xids=("1", "2"), lose=("view v",)) and found.swapped


def test_members_say_where_they_are_now(conn: Conn) -> None:
    make_refresh(conn)
    conn.execute('create table public."A" (id int primary key); create view public.v as select 1 as x')
    members = [
        Member(side="old", catalog="pg_class", oid=oid(conn, 'public."A"'), kind="table", schema="public", name="A"),
        Member(side="old", catalog="pg_class", oid=oid(conn, "public.v"), kind="view", schema="public", name="v"),
        Member(side="old", catalog="pg_class", oid=4_000_000_000, kind="table", schema="public", name="gone"),
    ]
    conn.execute(ledger.add_members("r1", members))
    conn.execute('alter table public."A" rename to "backup_A"')
    conn.execute(f"comment on table public.\"backup_A\" is '{ledger.marker('r1')} it was A'")
    (found,) = ledger.read(ask(conn))
    by_name = {one.name: one for one in found.side("old")}
    assert (by_name["A"].now_schema, by_name["A"].now_name, by_name["A"].marked) == ("public", "backup_A", True)
    assert by_name["A"].bytes > 0 and by_name["v"].marked is False
    assert not by_name["gone"].there and found.side("new") == ()


def test_a_marker_of_another_refresh_does_not_count(conn: Conn) -> None:
    make_refresh(conn)
    conn.execute(f"create table public.a (); comment on table public.a is '{ledger.marker('r10')} other'")
    member = Member(side="old", catalog="pg_class", oid=oid(conn, "public.a"), kind="table", schema="public", name="a")
    conn.execute(ledger.add_members("r1", [member]))
    (found,) = ledger.read(ask(conn))
    assert found.members[0].marked is False


def test_added_again_has_the_new_record(conn: Conn) -> None:
    make_refresh(conn)
    conn.execute("create table public.a ()")
    member = Member(
        side="new", catalog="pg_class", oid=oid(conn, "public.a"), kind="table", schema="public", name="a",
        record=MemberRecord(rows=1, checksum="x"),
    )  # fmt: skip
    conn.execute(ledger.add_members("r1", [member]))
    conn.execute(ledger.add_members("r1", [replace(member, record=MemberRecord(rows=2))]))
    (found,) = ledger.read(ask(conn))
    assert found.members[0].record == MemberRecord(rows=2)


def test_forgotten_is_gone_with_its_members(conn: Conn) -> None:
    make_refresh(conn)
    conn.execute("create table public.a ()")
    member = Member(side="new", catalog="pg_class", oid=oid(conn, "public.a"), kind="table", schema="public", name="a")
    conn.execute(ledger.add_members("r1", [member]))
    conn.execute(ledger.forget("r1"))
    assert ledger.read(ask(conn)) == ()
    assert conn.execute("select from planrun.member").fetchall() == []


def test_the_newest_is_found(conn: Conn) -> None:
    make_refresh(conn, "r1", "swapped")
    make_refresh(conn, "r2", "swapped")
    make_refresh(conn, "r3", "loaded")
    refreshes = ledger.read(ask(conn))
    newest = ledger.find(refreshes, states=("swapped",))
    assert newest and newest.id == "r2"
    assert ledger.find(refreshes, schema="sales", states=("swapped",)) is None


@pytest.mark.parametrize(
    "change",
    [
        "update planrun.refresh set about = '[]'",
        "update planrun.refresh set source = '\"x\"'",
        "update planrun.refresh set about = '{\"xids\": 1}'",
        "insert into planrun.member values ('r1', 'new', 'pg_class', 1, 'table', 'public', 'a', '[1]')",
    ],
)
def test_a_row_that_somebody_changed_is_told_by_name(conn: Conn, change: str) -> None:
    make_refresh(conn)
    conn.execute(change.encode())
    with pytest.raises(PlanrunError, match=r"was changed by hand: (about|source) of"):
        ledger.read(ask(conn))


def test_what_a_newer_planrun_wrote_is_refused(conn: Conn) -> None:
    make_refresh(conn)
    conn.execute("update planrun.refresh set about = about || '{\"version\": 99}'")
    with pytest.raises(
        PlanrunError, match=r"a newer planrun wrote about of refresh r1 .*: version 99, .* knows only 2"
    ):
        ledger.read(ask(conn))


def test_a_field_that_no_record_has_is_not_noted() -> None:
    with pytest.raises(TypeError):
        ledger.note("r1", losing=())


def test_a_member_is_moved_and_keeps_the_rest(conn: Conn) -> None:
    make_refresh(conn)
    conn.execute("create table public.a ()")
    record = MemberRecord(comment="mine", aside=TableName("public", "a"))
    member = Member(
        side="old", catalog="pg_class", oid=oid(conn, "public.a"), kind="table", schema="public", name="a",
        record=record,
    )  # fmt: skip
    conn.execute(ledger.add_members("r1", [member]))
    conn.execute(ledger.move_member("r1", member, TableName("public", "a_r1")))
    (found,) = ledger.read(ask(conn))
    assert found.members[0].record == replace(record, aside=TableName("public", "a_r1"))
