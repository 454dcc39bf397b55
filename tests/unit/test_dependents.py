"""What depends on replaced tables, asked of a real catalog: nothing may be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.errors import PlanrunError
from runner.refresh.catalog import dependents
from runner.refresh.catalog.dependents import Dependents
from runner.safesql.templates import Templates
from tests.servers import Server

Make = Callable[[], str]

ASIDE = "it is put aside with the old tables, and a rollback puts it back"

TABLES = """
create table public.orders (id serial primary key, total numeric, "Who" text);
create table public.other (id int primary key);
"""


def find(conninfo: str, text: str = "", names: tuple[str, ...] = ("orders",), lose: tuple[str, ...] = ()) -> Dependents:
    with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as conn:
        if text:
            conn.execute(text.encode())
        conn.execute("set search_path = ''")
        query = Templates((resources.SQL,)).sql(dependents.QUERY, schema="public", names=list(names), ours=[])
        rows: list[dict[str, Any]] = conn.execute(query.encode()).fetchall()
    return dependents.from_rows(rows, lose=lose)


def loss_lines(conninfo: str, text: str, **more: Any) -> list[str]:
    return [one.line for one in find(conninfo, TABLES + text, **more).lost]


def test_nothing_depends_on_a_table_by_itself(db: str) -> None:
    one = find(db, TABLES + "alter table public.orders add parent int references public.orders")
    assert one.lines() == ()
    assert sorted(one.replaced.values()) == [("public", "orders"), ("public", "orders_id_seq")]
    assert find(db, names=()).replaced == {}


def test_views_come_in_the_order_in_which_they_can_be_made(db: str) -> None:
    text = """
        create schema "Rep";
        create view public.z as select * from public.orders;
        create materialized view "Rep".orders as select id, "Who" from public.z;
        create unique index "By id" on "Rep".orders (id);
        create view public.a with (security_barrier) as select o, s.last_value
            from "Rep".orders as o, public.orders_id_seq as s;
        create materialized view public.empty as select * from public.a with no data;
        alter view public.z alter column total set default 7;
    """
    one = find(db, TABLES + text)
    assert [view.identity for view in one.derived] == ["public.z", '"Rep".orders', "public.a", "public.empty"]
    z, orders, a, empty = one.derived
    assert [c.default for c in z.columns] == ["", "7", ""]
    assert (orders.kind, orders.populated, empty.populated, a.kind) == ("matview", True, False, "view")
    assert [index.name for index in orders.indexes] == ["By id"]
    assert a.options == ("security_barrier=true",)
    assert [(c.name, c.type) for c in a.columns] == [("o", '"Rep".orders'), ("last_value", "bigint")]
    assert {one.replaced[oid] for oid in a.tables} == {("public", "orders")}
    assert one.lines() == (
        'materialized view "Rep".orders: rebuilt',
        "materialized view public.empty: rebuilt",
        "view public.a: rebuilt",
        "view public.z: rebuilt",
    )


def test_what_stays_gets_its_text_run_again(db: str) -> None:
    text = """
        create function public.count_them(low int default 0) returns bigint
            begin atomic select count(*) from public.orders where id > low; end;
        create procedure public.clear() begin atomic delete from public.orders; end;
        create view public.uses_function as select public.count_them();
        create table public.notes (id int default nextval('public.orders_id_seq'), "Of" int);
        alter table public.notes enable row level security;
        create policy "My p" on public.notes for all to public
            using (exists (select from public.orders where orders.id = "Of")) with check ("Of" > 0);
        create rule "R" as on insert to public.notes do also update public.orders set total = 1;
        alter table public.other add foreign key (id) references public.orders;
        create publication pub for table public.orders;
        create policy own on public.orders using (true);
        create function public.t() returns trigger language plpgsql as 'begin return new; end';
        create trigger tr before insert on public.orders for each row execute function public.t();
        create rule own as on delete to public.orders do also notify x;
        create function public.late() returns bigint language plpgsql
            as 'begin return (select count(*) from ORDERS); end';
        create function public.not_late() returns text language sql as 'select ''reorders my_orders''';
    """
    one = find(db, TABLES + text)
    assert one.lines() == (
        "column default of public.notes.id: re-pointed",
        "foreign key other_id_fkey of public.other: re-pointed",
        "function public.count_them(integer): re-pointed",
        "function public.late(): left alone, finds tables by name",
        'policy "My p" on public.notes: re-pointed',
        "policy own on public.orders: carried",
        "procedure public.clear(): re-pointed",
        "publication relation public.orders in publication pub: carried",
        'rule "R" on public.notes: re-pointed',
        "rule own on public.orders: carried",
        "trigger tr on public.orders: carried",
    )
    assert one.locks == (("public", "notes"),)
    texts = {change.what: change.statement for change in one.repoint}
    assert texts["column default of public.notes.id"] == (
        'alter table "public"."notes" alter column "id" set default nextval(\'public.orders_id_seq\'::regclass)'
    )
    assert texts['rule "R" on public.notes'].startswith('CREATE OR REPLACE RULE "R" AS')
    policy = next(change for change in one.repoint if change.what.startswith("policy"))
    assert policy.uses == (("public", "orders", "id", "integer"),) and policy.lock == ("public", "notes")


def test_a_function_of_the_row_type_is_made_anew(db: str) -> None:
    text = """
        create function public."All"(o public.orders) returns setof public.orders language sql stable
            as 'select o';
        comment on function public."All" is 'it''s all';
        create function public."backup_All"() returns int language sql as 'select 1';
        create procedure public.p(inout o public.orders) language plpgsql as 'begin end';
        create function public.calls() returns bigint begin atomic
            select count(*) from public."All"(null); end;
        create function public.first() returns public.orders begin atomic
            select public."All"(null); end;
    """
    one = find(db, TABLES + text)
    assert [function.name for function in one.functions] == ["All", "p", "first"]  # first calls All
    every = one.functions[0]
    assert every.leave.startswith('alter function "public"."All"(o public.orders) rename to "backup_All_')
    assert "comment on function" in every.enter and "'it''s all'" in every.enter
    assert [change.what for change in one.repoint] == ["function public.calls()"]
    assert one.lost == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "create table public.x (o public.orders)",
            "table column public.x.o: lost (has the row type of table public.orders)",
        ),
        (
            "create table public.x (o public.orders[])",
            "table column public.x.o: lost (has the row type of table public.orders)",
        ),
        (
            "create type public.x as (o public.orders)",
            "composite type column",
        ),
        (
            "create domain public.x as public.orders",
            "type public.x: lost (uses table public.orders, and cannot be changed",
        ),
        ("create type public.x as range (subtype = public.orders)", "type public.x: lost"),
        (
            "create table public.x () inherits (public.orders)",
            "table public.x: lost (inherits from table public.orders)",
        ),
        (
            "create table public.x (); alter table public.orders inherit public.x",
            "table public.orders: lost (inherits from public.x, which is not replaced)",
        ),
        (
            "create function public.f() returns trigger language plpgsql as 'begin end';"
            "create constraint trigger c after insert on public.other from public.orders"
            " for each row execute function public.f()",
            "trigger c on public.other: lost (a constraint trigger that names table public.orders)",
        ),
        (
            "create function public.f(o public.orders) returns int immutable language sql as 'select 1';"
            "create table public.x (a int, b int generated always as (public.f(null)) stored)",
            "table column public.x.b: lost (a generated column that uses function public.f(public.orders)",
        ),
        (
            "create function public.f(o public.orders) returns int immutable language sql as 'select 1';"
            "create table public.x (a int check (public.f(null) = 1))",
            "table constraint x_check on public.x: lost (uses function public.f(public.orders)",
        ),
        (
            "create function public.f(o public.orders) returns int immutable language sql as 'select 1';"
            "create index i on public.other ((id + public.f(null)))",
            "index public.i: lost (uses function public.f(public.orders)",
        ),
        (
            "create function public.f(o public.orders) returns int language sql as 'select 1';"
            "create view public.v as select public.f(o) from public.orders as o",
            "view public.v: lost (uses function public.f(public.orders), which is created again because of "
            "its row type)",
        ),
        (
            "create function public.f(int, public.orders) returns int language sql as 'select 1';"
            "create aggregate public.agg(public.orders) (sfunc = public.f, stype = int)",
            "aggregate public.agg(public.orders): lost",
        ),
        (
            "create function public.f(public.orders) returns int immutable language sql as 'select 1';"
            "create cast (public.orders as int) with function public.f(public.orders)",
            "cast (public.orders AS integer): lost",
        ),
    ],
)
def test_what_can_be_neither_moved_nor_run_again_is_lost(db: str, text: str, line: str) -> None:
    lines = loss_lines(db, text)
    assert any(line in each for each in lines), lines


def test_what_the_plan_gives_up_takes_along_what_uses_it(db: str) -> None:
    text = """
        create view public.v as select id from public.orders;
        create view public.w as select id from public.v;
        create view public.kept as select id from public.orders;
        create function public.f() returns bigint begin atomic select count(*) from public.w; end;
    """
    one = find(db, TABLES + text, lose=("view public.v", "public.w", "view public.y"))
    assert one.unknown == ("view public.y",)
    assert [view.name for view in one.derived] == ["kept"]
    assert one.lines() == (
        "function public.f(): lost (uses view public.w, which is lost)",
        f"view public.v: lost, as the plan says (named in `lose:`); {ASIDE}",
        f"view public.w: lost, as the plan says (named in `lose:`); {ASIDE}",
        "view public.kept: rebuilt",
    )
    assert [each.what for each in one.losses_to_refuse] == ["function public.f()"]
    assert (one.losses_to_refuse[0].hint, one.losses_to_refuse[0].may_go) == ("drop it", True)


def test_partitions_go_with_their_root(db: str) -> None:
    text = """
        create table public.p (id int primary key, at date) partition by range (id);
        create table public.p1 partition of public.p for values from (0) to (10) partition by range (id);
        create table public.p11 partition of public.p1 for values from (0) to (5);
        create view public.of_part as select * from public.p11;
        create table public.refers (id int references public.p) partition by range (id);
        create table public.refers1 partition of public.refers for values from (0) to (10);
    """
    one = find(db, text, names=("p",))
    assert set(one.replaced.values()) == {("public", "p"), ("public", "p1"), ("public", "p11")}
    assert one.lines() == ("foreign key refers_id_fkey of public.refers: re-pointed", "view public.of_part: rebuilt")
    alone = find(db, names=("p11",), lose=("table public.p11",))
    assert alone.losses_to_refuse == alone.lost and alone.lost[0].hint == "exclude the table"
    assert [each.line for each in alone.lost] == [
        "table public.p11: lost (a partition of public.p1, which is not replaced)"
    ]


def test_a_materialized_view_whose_owner_is_under_row_security_is_not_filled_with_all_rows(db: str) -> None:
    text = """
        create role planrun_low; grant create, usage on schema public to planrun_low;
        grant select on public.orders to planrun_low;
        alter table public.orders enable row level security;
        create view public.v as select * from public.orders;
        create materialized view public.m as select * from public.v;
        alter materialized view public.m owner to planrun_low;
    """
    try:
        assert loss_lines(db, text) == [
            "materialized view public.m: lost (its owner sees only the rows that row security of "
            "table public.orders lets through)"
        ]
    finally:
        with psycopg.connect(db, autocommit=True) as conn:
            conn.execute("drop owned by planrun_low")
            conn.execute("drop role planrun_low")


def test_a_materialized_view_that_a_function_fills_from_live_tables_must_be_refreshed_later(db: str) -> None:
    text = """
        create function public.f() returns bigint begin atomic select count(*) from public.orders; end;
        create function public.late() returns bigint language sql as 'select count(*) from public.orders';
        create view public.v as select id, public.f(), public.late() from public.orders;
        create materialized view public.m as select id, f from public.v;
    """
    assert find(db, TABLES + text).lines()[2:] == (
        "materialized view public.m: rebuilt, filled again after the swap: "
        "function public.f(), function public.late() may read live tables",
        "view public.v: rebuilt",
    )


def test_temporary_views_of_others_are_told(db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(TABLES.encode())
        conn.execute(
            "create temp view seen as select * from public.orders; create temp view deep as select * from seen"
        )
        one = find(db)
    assert one.lost == () and one.derived == ()
    assert len(one.left) == 2 and all("until its connection ends" in line for line in one.left)


def test_tables_of_a_subscription_and_of_an_extension_are_refused(db: str) -> None:
    text = """
        create subscription planrun_none connection '' publication x with (connect = false);
        insert into pg_catalog.pg_subscription_rel select s.oid, 'public.orders'::regclass, 'r', null
        from pg_catalog.pg_subscription as s;
        insert into pg_catalog.pg_depend select 'pg_class'::regclass, 'public.other'::regclass, 0,
            'pg_extension'::regclass, e.oid, 0, 'e' from pg_catalog.pg_extension as e where extname = 'plpgsql';
    """
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(TABLES.encode())
        conn.execute("set allow_system_table_mods = on")
        for part in text.split(";")[:-1]:
            conn.execute(part.encode())
    one = find(db, names=("orders", "other"))
    assert [each.line for each in one.lost] == [
        "table public.orders: lost (filled by the subscription planrun_none)",
        "table public.other: lost (belongs to the extension plpgsql)",
    ]
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("alter subscription planrun_none set (slot_name = none)")
        conn.execute("drop subscription planrun_none")


def test_views_that_use_each_other_are_an_error() -> None:
    about = {"definition": "", "options": [], "columns": [], "populated": True, "method": "", "tablespace": ""}
    rows = [
        {
            "kind": "derived", "catalog": "pg_class", "oid": oid, "type": "view", "identity": f"public.v{oid}",
            "schema": "public", "name": f"v{oid}", "temporary": False, "extension": "", "columns": [],
            "needs": [f"pg_class/{3 - oid}"],
            "about": {**about, "indexes": [], "statistics": [], "functions": [], "runs_text": []},
        }
        for oid in (1, 2)
    ]  # fmt: skip
    with pytest.raises(PlanrunError, match="depend on each other: public"):
        dependents.from_rows(rows)


def test_every_version_tells_the_same(each_version: Server) -> None:
    conninfo = each_version.create("dependents")
    invoker = "with (security_invoker)" if each_version.major >= 15 else ""
    text = f"""
        create table public.gen (id int generated always as identity, o int references public.orders);
        create view public.v {invoker} as select o, count(*) from public.orders as o group by o.id;
        create materialized view public.m as select * from public.v;
        create function public.f() returns bigint begin atomic select count(*) from public.v; end;
        create function public.r(o public.orders) returns int language sql as 'select 1';
        create function public.two(out a public.v, out b int) begin atomic select v, 1 from public.v; end;
    """
    one = find(conninfo, TABLES + text)
    assert one.lines() == (
        "foreign key gen_o_fkey of public.gen: re-pointed",
        "function public.f(): re-pointed",
        "function public.r(public.orders): created again with the new row type",
        "function public.two(): created again with the new row type",
        "materialized view public.m: rebuilt",
        "view public.v: rebuilt",
    )
    assert one.derived[0].options == (("security_invoker=true",) if invoker else ())


def test_a_role_that_may_read_nothing_is_told_what_it_could_not_give_back(db: str) -> None:
    text = "create view public.v as select * from public.orders; create publication pub for table public.orders"
    every = find(db, TABLES + text)
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create role planrun_nobody login")
    try:
        with_role = psycopg.conninfo.make_conninfo(db, options="-c role=planrun_nobody")
        told = find(with_role)
        assert told.replaced == every.replaced
        assert [one.what for one in told.losses_to_refuse] == [
            "publication relation public.orders in publication pub",
            "view public.v",
        ]
        assert "belongs to" in told.losses_to_refuse[1].line and told.losses_to_refuse[1].may_go
    finally:
        with psycopg.connect(db, autocommit=True) as conn:
            conn.execute("drop role planrun_nobody")
