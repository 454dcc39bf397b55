"""Functions that act in a READ ONLY transaction are found wherever they are called, and nothing else is."""

from __future__ import annotations

import pytest

from runner.errors import Mark
from runner.safesql import syntax

CALLED = [
    ("select pg_terminate_backend(1)", "pg_terminate_backend"),
    ("select PG_Terminate_Backend /* now */ (1)", "pg_terminate_backend"),
    ('select pg_catalog."pg_terminate_backend"\n(pid) from pg_stat_activity', "pg_terminate_backend"),
    ("with x as (select lo_export(1, 'f')) select * from x", "lo_export"),
    ("select * from t where n = (select dblink_exec('x'))", "dblink_exec"),
    ("select * from pg_advisory_lock(1)", "pg_advisory_lock"),
    ("explain analyze select pg_stat_reset()", "pg_stat_reset"),
    ('select U&"dblink"(1)', "dblink"),
    ("select u&\"pg!005fterminate_backend\" uescape '!' (1)", 'u&"pg!005fterminate_backend"'),
    ('select U&"a\\0062"(1)', 'U&"a\\0062"'),
]
NOT = [
    "select 'pg_terminate_backend(1)'",
    "select pg_terminate_backend from t",
    'select "PG_TERMINATE_BACKEND"(1)',
    "select pg_try_advisory_xact_lock(1), pg_sleep(0), lo_get(1)",
    "select 1 -- pg_reload_conf()",
    "select $$ dblink('x') $$",
]


@pytest.mark.parametrize(("text", "name"), CALLED)
def test_a_call_is_found(text: str, name: str) -> None:
    found = syntax.problems(text, lambda at: Mark("p", 1, at + 1), use="query")
    assert [one.message for one in found] == [f"{name}() has effects even in a READ ONLY transaction"]
    assert text[found[0].where.column - 1 :].lower().startswith((name.lower(), '"pg_', "u&"))


@pytest.mark.parametrize("text", NOT)
def test_what_is_no_call_is_let_through(text: str) -> None:
    assert syntax.problems(text, lambda at: Mark("p", 1, at + 1), use="query") == []
    assert syntax.problems(text, lambda at: Mark("p", 1, at + 1), use="check") == []
