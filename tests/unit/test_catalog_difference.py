"""What two catalogs differ in: every kind of object, once each, with its parts counted, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import sqlfile
from runner.catalog_difference import Catalog, ObjectKey, difference, lines
from runner.sqltext import literal
from tests.servers import Server

START = """
create type mood as enum ('a'); create sequence s; create schema other;
create table t (a int primary key, b text, c int); create table "T 2" (x int, y int, "Z" int);
create view v as select a from t; create function f() returns int language sql as 'select 1';
create table p (n int) partition by range (n); create table p1 partition of p for values from (1) to (2);
create table r (n int, foreign key (n) references t);
"""


@pytest.fixture(scope="module")
def shared(pg_server: Server) -> Iterator[psycopg.Connection[dict[str, object]]]:
    name = f"difference_{os.getpid()}"
    with psycopg.connect(pg_server.create(name), row_factory=dict_row) as made:
        made.execute(START.encode())
        made.commit()
        yield made
        made.rollback()
    pg_server.drop(name)


@pytest.fixture
def conn(shared: psycopg.Connection[dict[str, object]]) -> Iterator[psycopg.Connection[dict[str, object]]]:
    """A connection whose changes are undone after the test."""
    yield shared
    shared.rollback()


def read(conn: psycopg.Connection[dict[str, object]], own: list[int] | None = None) -> Catalog:
    conn.execute("set search_path = ''")
    found = Catalog.of(conn.execute(sqlfile.fill("catalog/objects.sql", own=literal(own or []))).fetchall())
    conn.execute("set search_path = public")
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("alter table t add d int default 3 not null", ["+ column public.t.d: integer not null default 3"]),
        ("alter table t drop c", ["- column public.t.c: integer"]),
        ("alter table t alter b type varchar(9)", ["~ column public.t.b", "    - text", "    + character varying(9)"]),
        ("alter table t add check (c > 0)", ["+ constraint t_c_check on public.t: CHECK ((c > 0))"]),
        ("create index on t (b)", ["+ index public.t_b_idx: CREATE INDEX t_b_idx ON public.t USING btree (b)"]),
        ("grant select on t to public", ["+ grants on table public.t to public: SELECT"]),
        ("grant select (b) on t to public", ["+ grants on column public.t.b to public: SELECT"]),
        (
            "alter table t enable row level security; create policy mine on t for select using (a = 1)",
            ["~ table public.t", "    - owner postgres", "    + owner postgres; row security",
             "+ policy mine on public.t: select permissive to public using ((a = 1))"],
        ),
        ("drop view v", ["- view public.v with 1 column"]),
        ("alter sequence s increment 2", ["~ sequence public.s"]),
        ("alter type mood add value 'b'", ["~ type public.mood"]),
        ("create or replace function f() returns int language sql as 'select 2'", ["~ function public.f()"]),
        ("drop table r", ["- table public.r with 1 column, 1 constraint"]),
        ("comment on column t.b is 'x'", ["~ column public.t.b", "    - text", "    + text; comment 'x'"]),
        ("create table p2 partition of p for values from (2) to (3)", ["+ table public.p2 with 1 column"]),
        ("alter table r alter n set not null", ["~ column public.r.n", "    - integer", "    + integer not null"]),
        (
            "create trigger x before update on r for each row execute function suppress_redundant_updates_trigger()",
            ["+ trigger x on public.r: CREATE TRIGGER x BEFORE UPDATE ON public.r FOR EACH ROW "
             "EXECUTE FUNCTION suppress_redundant_updates_trigger()"],
        ),
        ('create table "T 3" as table "T 2"; drop table "T 2"; create table "T 2" (y int, x int, "Z" int)',
         ['~ column order of public."T 2"', '    - x, y, "Z"', '    + y, x, "Z"',
          '+ table public."T 3" with 3 columns']),
        ("create table planrun_x (n int); drop table planrun_x; analyze", []),
        ("create schema planrun; create table planrun.t (n int)", []),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_change_is_told_once(conn: psycopg.Connection[dict[str, object]], change: str, told: list[str]) -> None:
    before = read(conn)
    for text in change.split("; "):
        conn.execute(text.encode())
    found = list(lines(difference(before, read(conn))))
    assert (found if len(told) != 1 else found[:1]) == told
    assert list(difference(before, before)) == []


def test_what_is_planruns_is_left_out(conn: psycopg.Connection[dict[str, object]]) -> None:
    before = read(conn)
    conn.execute("create table aside (n int)")
    conn.execute("create index on aside (n)")
    oid = conn.execute("select 'aside'::regclass::oid::bigint as oid").fetchone()
    assert oid and isinstance(oid["oid"], int)
    assert list(difference(before, read(conn, [oid["oid"]]))) == []
    assert [str(one.key) for one in difference(before, read(conn))] == ["table public.aside"]


def test_a_record_is_read_back_as_it_was() -> None:
    catalog = Catalog(objects={ObjectKey("column", "t.n", "t"): "int", ObjectKey("schema", "s"): "owner a"})
    assert Catalog.from_json(catalog.to_json()) == catalog
    with pytest.raises(ValueError, match="version 7"):
        Catalog.from_json({"version": 7, "objects": []})
