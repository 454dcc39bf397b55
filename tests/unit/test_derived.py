"""Views built on shadow tables: the proof that they still work, and what the swap then does with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError
from runner.refresh import ledger, planrun_schema
from runner.refresh.catalog import dependents
from runner.refresh.catalog.dependents import SETTINGS, Dependents
from runner.safesql.templates import Templates
from runner.shadow import derived
from runner.sqltext import ident, qualified
from tests.servers import Server

Conn = psycopg.Connection[dict[str, Any]]

SHADOW = "planrun_shadow_public"

TABLES = """
create table public.orders (id serial primary key, total numeric, "Who" text);
create table public."Area" (id int primary key, at date) partition by range (id);
create table public."Area_1" partition of public."Area" for values from (0) to (100);
insert into public.orders (total, "Who") values (1, 'old');
"""
COPIED = """
create table {0}.orders (id serial primary key, total numeric, "Who" text);
create table {0}."Area" (id int primary key, at date) partition by range (id);
create table {0}."Area_1" partition of {0}."Area" for values from (0) to (100);
insert into {0}.orders (total, "Who") values (1, 'new'), (2, 'new');
insert into {0}."Area" values (1, '2024-01-01');
"""


@contextmanager
def session(conninfo: str) -> Iterator[Conn]:
    with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as conn:
        conn.execute("set search_path = ''")
        yield conn


def find(conn: Conn, *names: str, lose: tuple[str, ...] = ()) -> Dependents:
    query = Templates((resources.SQL,)).sql(dependents.QUERY, schema="public", names=list(names), ours=[])
    return dependents.from_rows(conn.execute(query.encode()).fetchall(), lose=lose)


def load(conn: Conn, text: str, copied: str = COPIED) -> None:
    """Make live tables with what depends on them, and their shadows as a load leaves them."""
    conn.execute((TABLES + text).encode())
    conn.execute(planrun_schema.create("ledger").encode())
    conn.execute(ledger.begin("r1", "plan", "public", SHADOW, "source").encode())
    conn.execute(f"create schema {SHADOW}; comment on schema {SHADOW} is 'planrun refresh r1: shadow'".encode())
    conn.execute(copied.format(SHADOW).encode())


def build(conn: Conn, cancel: Cancel | None = None, **more: Any) -> tuple[ledger.Member, ...]:
    found = find(conn, "orders", "Area", **more)
    return derived.build(conn, found, refresh="r1", schemas={"public": SHADOW}, cancel=cancel or Cancel())


def read(conn: Conn) -> ledger.Refresh:
    return ledger.read(lambda text: conn.execute(text.encode()).fetchall())[0]


def one(conn: Conn, text: str) -> Any:
    return next(iter(conn.execute(text.encode()).fetchall()[0].values()))


VIEWS = """
create schema "Rep";
create function public.counted() returns bigint language sql stable as 'select 7::bigint';
create view public.z with (security_barrier) as select * from public.orders where "Who" <> '' with local check option;
create view "Rep".orders as select o, o.total as "T.otal", a.at from public.z as o, public."Area_1" as a;
create materialized view "Rep".m with (fillfactor = 50) as
    select (o).id, "T.otal", public.counted() as c from "Rep".orders;
create unique index "By id" on "Rep".m (id);
create index on "Rep".m (("T.otal" + 1)) where "T.otal" > 0;
alter materialized view "Rep".m cluster on "By id";
create statistics "Rep".st on id, "T.otal" from "Rep".m;
create view public.last with (security_barrier = false) as
    select m.id, s.last_value from "Rep".m as m, public.orders_id_seq as s;
alter view public.last alter column id set default 5;
create materialized view public.empty as select * from public.last with no data;
create view public.grouped as select o.*, count(*) from public.orders as o group by o.id;
"""


def test_all_are_built_on_the_shadows_and_recorded(db: str) -> None:
    with session(db) as conn:
        load(conn, VIEWS)
        members = build(conn)
        assert [(m.schema, m.name, m.kind, m.now_schema) for m in members] == [
            ("public", "grouped", "view", SHADOW),
            ("public", "z", "view", SHADOW),
            ("Rep", "orders", "view", "planrun_shadow_Rep"),
            ("Rep", "m", "matview", "planrun_shadow_Rep"),
            ("public", "last", "view", SHADOW),
            ("public", "empty", "matview", SHADOW),
        ]
        kept = read(conn)
        assert {m.oid for m in kept.members} == {m.oid for m in members} and all(m.there for m in kept.members)
        rep = one(conn, "select '\"planrun_shadow_Rep\"'::regnamespace::oid::bigint")
        assert kept.record.shadow_schemas == {"planrun_shadow_Rep": rep}
        assert one(conn, "select obj_description(" + str(rep) + ", 'pg_namespace')").startswith(ledger.marker("r1"))
        assert one(conn, 'select count(*) from "planrun_shadow_Rep".m') == 2
        assert one(conn, f"select relispopulated from pg_class where oid = '{SHADOW}.empty'::regclass") is False
        assert one(conn, f"select reloptions from pg_class where oid = '{SHADOW}.z'::regclass") == [
            "security_barrier=true",
            "check_option=local",
        ]
        indexes = "select array_agg(indexname order by indexname) from pg_indexes where schemaname = '{}'"
        assert one(conn, indexes.format("planrun_shadow_Rep")) == one(conn, indexes.format("Rep"))
        assert one(
            conn, "select array_agg(stxnamespace::regnamespace::text) from pg_statistic_ext where stxname = 'st'"
        )
        assert one(
            conn, 'select indisclustered from pg_index where indexrelid = \'"planrun_shadow_Rep"."By id"\'::regclass'
        )


def test_an_older_snapshot_sees_the_rows_of_a_materialized_view(db: str) -> None:
    with session(db) as conn, session(db) as other:
        load(conn, "create materialized view public.m as select * from public.orders")
        with other.transaction():
            other.execute("set transaction isolation level repeatable read")
            other.execute("select 1")
            build(conn)
            assert one(other, f"select count(*) from {SHADOW}.m") == 2


@pytest.mark.parametrize(
    ("text", "copied", "message"),
    [
        (
            'create view public.v as select "Who" from public.orders',
            'alter table {0}.orders drop "Who"',
            "does not exist",
        ),
        (
            "create view public.v as select total from public.orders",
            "alter table {0}.orders alter total type text",
            "column total is numeric and would be text",
        ),
        (
            'create view public.v as select "Who" from public.orders',
            'alter table {0}.orders alter "Who" type text collate "C"',
            'column "Who" is text and would be text collate pg_catalog."C"',
        ),
        (
            "create table public.\"Area_2\" partition of public.\"Area\" for values from (100) to (200);"
            "create view public.v as select * from public.\"Area_2\"",
            "",
            'it would still use table public."Area_2", which is not replaced by a new one',
        ),
        (
            "create function public.f() returns bigint begin atomic select max(total)::bigint from public.orders; end",
            "alter table {0}.orders drop total",
            "function public.f() does not fit the new tables: it uses public.orders.total, which is not replaced "
"by a new one",
        ),
        (
            "create function public.f() returns bigint begin atomic select max(total)::bigint from public.orders; end",
            "alter table {0}.orders alter total type int",
            "public.orders.total, which is numeric and would be integer",
        ),
        (
            "create table public.x (id int default nextval('public.orders_id_seq'))",
            "alter table {0}.orders alter id drop default; drop sequence {0}.orders_id_seq",
            "column default of public.x.id does not fit the new tables: it uses public.orders_id_seq",
        ),
        (
            "create materialized view public.m as select 1 / total as x from public.orders",
            "update {0}.orders set total = 0",
            "materialized view public.m does not fit the new tables: division by zero",
        ),
        (
            "create table public.x (o public.orders)",
            "",
            "table column public.x.o (would be lost: has the row type of table public.orders)",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error_before_the_swap(db: str, text: str, copied: str, message: str) -> None:
    with session(db) as conn:
        load(conn, text, COPIED + copied)
        with pytest.raises(TargetError) as caught:
            build(conn)
        assert message in caught.value.message
        assert "exclude the table" in caught.value.hint and "`lose:" in caught.value.hint


def test_what_the_plan_gives_up_is_not_built(db: str) -> None:
    text = (
        'create view public.v as select "Who" from public.orders; create view public.w as select 1 from public.orders'
    )
    with session(db) as conn:
        load(conn, text, COPIED + 'alter table {0}.orders drop "Who"')
        assert [member.name for member in build(conn, lose=("view public.v",))] == ["w"]


def test_a_schema_of_somebody_else_is_not_used(db: str) -> None:
    with session(db) as conn:
        load(conn, "create schema x; create view x.v as select * from public.orders; create schema planrun_shadow_x")
        with pytest.raises(TargetError, match="planrun_shadow_x already exists and does not belong to this refresh"):
            build(conn)


def test_asked_to_stop_it_stops(db: str) -> None:
    cancel = Cancel()
    with session(db) as conn:
        load(conn, "create view public.v as select * from public.orders")
        cancel.cancel(Interrupted("stop", signal=2))
        with pytest.raises(Interrupted):
            build(conn, cancel)


WIDE = """
create table public.notes (id int default nextval('public.orders_id_seq'), "Of" int);
alter table public.notes enable row level security;
create policy "My p" on public.notes using (exists (select from public.z where z.id = "Of")) with check ("Of" > 0);
create rule "R" as on insert to public.notes do also update public.orders set total = total + 1;
alter table public.notes disable rule "R";
create function public.f(low int default 0) returns bigint security definer
    begin atomic select count(*) from "Rep".orders where (o).id > low; end;
create view public.uses_f as select public.f();
create function public.of(o public.orders) returns setof public.z language sql as 'select * from public.z';
create procedure public.p(o public.orders[]) language plpgsql as 'begin end';
comment on function public.of is 'mine';
create function public.calls() returns bigint begin atomic select count(*) from public.of(null); end;
"""


INDEXES = """
select schemaname as schema, indexname as name from pg_catalog.pg_indexes where schemaname in ('public', 'Rep')
union
select 'public', relname from pg_catalog.pg_class where relkind = 'I' and relnamespace = 'public'::regnamespace
"""


def swap(conn: Conn, found: Dependents, members: tuple[ledger.Member, ...]) -> None:
    """What the swap does in one transaction, as far as it concerns these objects."""
    old = [*found.replaced.values(), *((view.schema, view.name) for view in found.derived)]
    new = [(SHADOW, "orders", "public"), (SHADOW, "Area", "public"), (SHADOW, "Area_1", "public")]
    new += [(member.now_schema, member.name, member.schema) for member in members]
    with conn.transaction():
        conn.execute(SETTINGS.encode())
        for function in found.functions:
            conn.execute(function.leave.encode())
        for row in conn.execute(INDEXES.encode()).fetchall():
            aside = ident("backup_" + row["name"])
            conn.execute(f"alter index {qualified(row['schema'], row['name'])} rename to {aside}".encode())
        conn.execute('alter statistics "Rep".st rename to backup_st')
        for schema, name in old:
            conn.execute(f"alter table {qualified(schema, name)} rename to {ident('backup_' + name)}".encode())
        for shadow, name, schema in new:
            conn.execute(f'alter table {qualified(shadow, name)} set schema "{schema}"'.encode())
        conn.execute('alter statistics "planrun_shadow_Rep".st set schema "Rep"')
        for function in found.functions:
            conn.execute(function.enter.encode())
        for change in found.repoint:
            conn.execute(change.statement.encode())


def test_after_a_swap_nothing_is_bound_to_what_went_aside(each_version: Server) -> None:
    conninfo = each_version.create("derived")
    with session(conninfo) as conn:
        invoker = "create view public.inv with (security_invoker) as select * from public.orders;"
        load(conn, VIEWS + WIDE + (invoker if each_version.major >= 15 else ""))
        found = find(conn, "orders", "Area")
        before = found.lines()
        assert not found.lost and len(found.functions) == 2
        members = derived.build(conn, found, refresh="r1", schemas={"public": SHADOW}, cancel=Cancel())
        swap(conn, found, members)
        aside = find(conn, "backup_orders", "backup_Area")
        live = {"backup_" + view.name for view in found.derived}
        assert {view.name for view in aside.derived} == live
        assert {function.name for function in aside.functions} == {"backup_of", "backup_p"}
        assert (aside.repoint, aside.lost, aside.foreign_keys) == ((), (), ())
        # what went aside is known by the ledger, which this test does without
        assert [line for line in find(conn, "orders", "Area").lines() if "backup_m" not in line] == list(before)
        assert one(conn, "select public.f()") == 2 and one(conn, 'select count(*) from "Rep".m') == 2
        assert one(conn, "select obj_description('public.of(public.orders)'::regprocedure, 'pg_proc')") == "mine"
        assert one(conn, "select ev_enabled::text from pg_rewrite where rulename = 'R'") == "D"
        texts = [(view.identity, view.definition, view.options, view.columns) for view in found.derived]
        now = find(conn, "orders", "Area")
        assert sorted(texts) == sorted((v.identity, v.definition, v.options, v.columns) for v in now.derived)
