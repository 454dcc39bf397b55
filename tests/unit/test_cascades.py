"""What goes with dropped objects: found before the drop, and compared with what is gone after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.run.explain import explain
from runner.safesql import syntax
from runner.safesql.cascades import Root, query_values, roots
from runner.safesql.templates import Templates
from tests.servers import Server

SCHEMA = """
create schema sales;
create type sales.state as enum ('new', 'paid');
create domain sales.code as text check (value <> '');
create table sales.customer (id int primary key, name text, code sales.code);
create table sales."Order" (id int generated always as identity primary key,
    customer int references sales.customer on delete cascade, state sales.state default 'new');
create table sales.line (id serial primary key, item int references sales."Order");
create table sales.event (at date, n int) partition by range (at);
create table sales.event_1 partition of sales.event for values from ('2026-01-01') to ('2027-01-01');
create view sales.paid as select id, customer from sales."Order" where state = 'paid';
create materialized view sales.totals as select count(*) as n from sales.paid;
create view sales.names as select name from sales.customer;
create function sales.paid_rows() returns setof sales.paid language sql as 'select * from sales.paid';
create function sales.touch() returns trigger language plpgsql as 'begin return new; end';
create trigger touch before update on sales.customer for each row execute function sales.touch();
create function sales.visible(text) returns bool language sql as 'select true';
create policy p on sales.customer using (sales.visible(name));
create sequence sales.numbers;
create table sales.counter (n int default nextval('sales.numbers'), other int);
create table sales.base (a int);
create table sales.derived () inherits (sales.base);
"""

OBJECTS = """
select i.type, i.identity from (
    select 'pg_catalog.pg_class'::regclass::oid, oid, 0 from pg_class
        where relkind in ('r', 'p', 'v', 'm') or relname = 'numbers'
    union all select 'pg_catalog.pg_class'::regclass, attrelid, attnum from pg_attribute as a
        join pg_class as c on c.oid = attrelid and relkind in ('r', 'p') where attnum > 0 and not attisdropped
    union all select 'pg_catalog.pg_constraint'::regclass, oid, 0 from pg_constraint where conrelid <> 0
    union all select 'pg_catalog.pg_attrdef'::regclass, oid, 0 from pg_attrdef
    union all select 'pg_catalog.pg_trigger'::regclass, oid, 0 from pg_trigger where not tgisinternal
    union all select 'pg_catalog.pg_policy'::regclass, oid, 0 from pg_policy
    union all select 'pg_catalog.pg_proc'::regclass, oid, 0 from pg_proc where pronamespace = 'sales'::regnamespace
    union all select 'pg_catalog.pg_type'::regclass, oid, 0 from pg_type where typtype in ('e', 'd')
) as o (classid, objid, objsubid), pg_identify_object(classid, objid, objsubid) as i
where i.schema = 'sales' or i.identity like '%sales.%'
"""

RELATIONS = ("table", "view", "materialized view")

STATEMENTS = {
    'drop table sales."Order" cascade': [
        "function sales.paid_rows()", "materialized view sales.totals", "table constraint line_item_fkey on sales.line",
        "view sales.paid",
    ],
    "drop table sales.customer cascade": [
        'table constraint "Order_customer_fkey" on sales."Order"', "view sales.names",
    ],
    "drop view sales.paid cascade": ["function sales.paid_rows()", "materialized view sales.totals"],
    "drop type sales.state cascade": [
        'default value for sales."Order".state', "function sales.paid_rows()", "materialized view sales.totals",
        'table column sales."Order".state', "view sales.paid",
    ],
    "drop domain sales.code cascade": ["table column sales.customer.code"],
    'alter table sales."Order" drop column customer cascade': [
        "function sales.paid_rows()", "materialized view sales.totals",
        'table constraint "Order_customer_fkey" on sales."Order"', "view sales.paid",
    ],
    "alter table sales.customer drop constraint customer_pkey cascade": [
        'table constraint "Order_customer_fkey" on sales."Order"'
    ],
    "drop function sales.touch() cascade": ["trigger touch on sales.customer"],
    "drop function sales.visible(text) cascade": ["policy p on sales.customer"],
    "drop sequence sales.numbers cascade": ["default value for sales.counter.n"],
    "drop table sales.event": ["table sales.event_1"],
    "drop table sales.base cascade": ["table sales.derived"],
    "drop table sales.line": [],
    "drop view sales.names": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def conn(pg_server: Server) -> Any:
    with psycopg.connect(pg_server.create("cascades"), row_factory=dict_row, autocommit=True) as conn:
        conn.execute(SCHEMA)
        yield conn


def predict(conn: psycopg.Connection[dict[str, Any]], text: str) -> dict[str, str]:
    templates = Templates((resources.SQL,))

    def find(every: Sequence[Root]) -> str:
        return templates.sql("sql/cascades.sql.j2", **query_values(every))

    def describe(names: list[str]) -> str:
        return templates.sql("sql/targets.sql.j2", names=names)

    found = explain(text, lambda query: conn.execute(query.encode()).fetchall(), describe, find, stale=False)
    return {f"{one.kind} {one.name}": one.verb for one in found if " with " in one.verb}


def objects(conn: psycopg.Connection[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["type"], row["identity"]) for row in conn.execute(OBJECTS)}


@pytest.mark.parametrize("text", STATEMENTS)
def test_what_goes_with_it_is_what_is_gone_afterwards(conn: psycopg.Connection[dict[str, Any]], text: str) -> None:
    predicted = predict(conn, text)
    assert sorted(predicted) == STATEMENTS[text]
    with conn.transaction(force_rollback=True):
        before = objects(conn)
        conn.execute(text.encode())
        gone = before - objects(conn)
    whole = [name for kind, name in gone if kind in RELATIONS]
    owned = {f"{kind} {name}" for kind, name in gone if any(_belongs(kind, name, to) for to in whole)}
    root = {f"{kind} {name}" for kind, name in gone} - owned - set(predicted)
    assert set(predicted) <= {f"{kind} {name}" for kind, name in gone}
    assert len(root) == 1, f"only what the statement names itself is left: {root}"


def _belongs(kind: str, name: str, table: str) -> bool:
    """Say whether an object belongs to a relation: a column, default, constraint, trigger or policy of it."""
    return kind not in RELATIONS and (
        name.endswith(f" on {table}") or name.startswith(f"{table}.") or name.startswith(f"for {table}.")
    )


def test_a_schema_goes_with_all_that_is_in_it_and_uses_it(conn: psycopg.Connection[dict[str, Any]]) -> None:
    predicted = predict(conn, "drop schema sales cascade")
    relations = {f"{kind} {name}" for kind, name in objects(conn) if kind in (*RELATIONS, "function", "type")}
    assert relations <= set(predicted)
    assert set(predicted.values()) == {"drop with sales"}
    assert not [name for name in predicted if "_seq" in name or name.startswith("table column")]


def test_truncate_empties_what_refers_to_it(conn: psycopg.Connection[dict[str, Any]]) -> None:
    assert predict(conn, "truncate sales.customer cascade") == {
        'table sales."Order"': "truncate with sales.customer",
        "table sales.line": "truncate with sales.customer",
    }
    assert predict(conn, "truncate sales.line") == {}


def test_what_an_earlier_statement_drops_is_told_once(conn: psycopg.Connection[dict[str, Any]]) -> None:
    found = predict(conn, "drop view sales.names; drop table sales.customer cascade")
    assert "view sales.names" not in found and len(found) == 1


def test_each_version_has_these_dependencies(each_version: Server) -> None:
    text = 'drop table sales."Order" cascade'
    with psycopg.connect(each_version.create("cascades"), row_factory=dict_row, autocommit=True) as conn:
        conn.execute(SCHEMA)
        assert sorted(predict(conn, text)) == STATEMENTS[text]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('drop table a, "B c".d cascade', [Root("relation", "", "a"), Root("relation", "B c", "d")]),
        ("drop table a", [Root("relation", "", "a", cascade=False)]),
        ("drop schema a", []),
        ("drop extension e cascade", [Root("extension", "", "e")]),
        ("drop function f(int), s.g cascade", [Root("function", "", "f"), Root("function", "s", "g")]),
        ("truncate a cascade", [Root("truncate", "", "a")]),
        ("truncate a", []),
        ("alter table s.t drop column c cascade, drop constraint k, drop d", [Root("column", "s", "t", "c")]),
        ("select 1; create table x ()", []),
    ],
)
def test_roots(text: str, found: list[Root]) -> None:
    assert [root for one in syntax.statements(text) for root in roots(one)] == found
