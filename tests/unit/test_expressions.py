"""Texts of expressions that PostgreSQL writes in two ways: the rule here gives what the server gives."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.refresh.catalog.expressions import settle

DOMAINS = {
    "varchar": ("varchar(9)", "value in ('red', 'a]),''b[(')"),
    "not in": ("varchar", "value not in ('x', 'y') or value in ('a', 'b') and length(value) > 3"),
    "nested": ("varchar", "value = any (array[coalesce('a'::varchar, 'b'), 'c'])"),
    "char": ("char(3)", "value in ('a', 'b')"),
    "integer": ("int", "value in (1, 2) or value = any (array[3, 4]::bigint[])"),
    "numeric": ("numeric(9, 2)", "value in (1, 2.5)"),
    "date": ("date", "value in ('2026-01-01', '2026-12-31')"),
    "two dimensions": ("varchar", "value = any (array[array['a', 'b'], array['c', 'd']]::varchar[])"),
    "quoted type": ("varchar", """(array['a'::varchar])::"odd [type"[] is not null"""),
    "no array": ("text", "value <> ''"),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_the_rule_is_that_of_the_server(db: str, name: str) -> None:
    kind, check = DOMAINS[name]
    with psycopg.connect(db) as conn:
        conn.execute('create domain "odd [type" as text')
        first = _text(conn, f"create domain first as {kind} check ({check})", "first")
        again = _text(conn, f"create domain again as {kind} {first}", "again")
        conn.rollback()
    assert settle(first) == again
    assert settle(again) == again


def _text(conn: psycopg.Connection[tuple[str]], definition: str, domain: str) -> str:
    conn.execute(definition.encode())
    query = "select pg_get_constraintdef(oid) from pg_constraint where contypid = %s::regtype"
    row = conn.execute(query, [domain]).fetchone()
    assert row
    return row[0]


@given(st.text("(ARRAY[]),'\"::text ", max_size=60))
def test_any_text_is_settled_once_and_for_all(text: str) -> None:
    assert settle(settle(text)) == settle(text)
