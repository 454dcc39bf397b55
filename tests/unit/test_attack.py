"""Hostile names and values against real servers' settings: nothing gets through, and what is taken comes back equal.

Three ways to write and to read: standard_conforming_strings on; off with backslash_quote on; and text that was
written after libpq had been told another encoding. A table `victim` must stand at the end of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.errors import PlanrunError
from runner.safesql.templates import Templates
from runner.sqltext import Inline, ident, idents, literal, literals

SETTINGS = {
    "on": {"standard_conforming_strings": "on", "backslash_quote": "safe_encoding"},
    "off": {"standard_conforming_strings": "off", "backslash_quote": "on", "escape_string_warning": "off"},
    "gbk": {"standard_conforming_strings": "off", "backslash_quote": "on", "escape_string_warning": "off"},
}

TEXTS = [
    *(
        "plain",
        "",
        " ",
        "'; DROP TABLE victim; --",
        "\\'; DROP TABLE victim; --",
        "\\",
        "\\\\",
        "\\'",
        "'\\",
        "a\\\\'b",
    ),
    *(
        "'",
        "''",
        "'''",
        '"',
        '""',
        '"; DROP TABLE victim; --',
        "%s %(x)s %%",
        "%",
        "$1",
        "$$",
        "$$; DROP TABLE victim; $$",
    ),
    *(
        "$body$; DROP TABLE victim; $body$",
        "é漢字😀",
        "漢'; DROP TABLE victim; --",
        "\u02bc; DROP TABLE victim",
        "\uff07; DROP",
    ),
    *("x\x01\x1f\x7f", "x\ny--\r\n/* ", "*/ DROP TABLE victim; /*", "{{ 7*7 }}", "{% for %}", "{# #}", "${params.x}"),
    *("E'", "E'\\", "U&'\\0027'", "\\047; DROP TABLE victim; --", "\\u0027", "\u2028'\u2029", "\ufeff'", "\x1a'"),
    *("x" * 10_000, "'" * 999, "\\" * 999, "NULL", "null", "true", "--", "/*", ";", "\\.", "\\copy victim to '/x'"),
    *("\u202e'; DROP", "¿'", "À'", "表'", "ソ'", "\u00bf\\'"),
]
REFUSED: list[Any] = ["a\0b", "\0", "\ud800", "a\udfff'", {"a": 1}, b"\x00\xff", object(), {1, 2}]
OTHERS: list[Any] = [True, False, None, 0, -1, 3, 2**31, 2**63 - 1, -(2**63), 10**30, 2.5, -2.5, 1e300, 5e-324, -0.0]
LISTS: list[list[Any]] = [
    ["a'b", "c\\"],
    ['"', "'", "\\", "", " ", "NULL", "null", None, ",", "{", "}"],
    ["'}'; DROP TABLE victim; --", "\"}'; DROP TABLE victim; --"],
    TEXTS[:40],
    [],
]


@pytest.fixture(params=list(SETTINGS))
def conn(request: pytest.FixtureRequest, db: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(db, autocommit=True, client_encoding="UTF8") as conn:
        conn.execute("create table public.victim (x int)")
        for name, value in SETTINGS[request.param].items():
            conn.execute(f"set {name} = {value}")
        if request.param == "gbk":
            # the encoding of the last connection leaks into libpq's quoting without a connection
            with psycopg.connect(db, client_encoding="GBK"):
                pass
        yield conn
        row = conn.execute("select pg_catalog.to_regclass('public.victim')::text").fetchone()
        assert row in (("victim",), ("public.victim",))


def one(conn: psycopg.Connection[Any], text: str) -> Any:
    cursor = conn.execute(text)
    [(value,)] = cursor.fetchall()
    assert not cursor.nextset(), "more than one statement ran"
    return value


def sql(text: str, **values: Any) -> str:
    return Templates([]).sql(Inline(text), **values)


def test_every_text_comes_back_equal(conn: psycopg.Connection[Any]) -> None:
    for value in TEXTS:
        assert one(conn, f"select {literal(value)}::text") == value
        assert one(conn, sql("select {{ v }}::text", v=value)) == value


def test_every_name_comes_back_equal_or_is_refused(conn: psycopg.Connection[Any]) -> None:
    for value in TEXTS:
        if not 0 < len(value.encode()) <= 63:
            with pytest.raises(PlanrunError):
                ident(value)
            continue
        cursor = conn.execute(sql("select 1 as {{ v|ident }}", v=value))
        assert cursor.description is not None
        assert cursor.description[0].name == value


def test_what_cannot_be_written_is_refused(conn: psycopg.Connection[Any]) -> None:
    for value in REFUSED:
        for text in ("select {{ v }}", "select {{ v|ident }}", "select {{ [v] }}", "select {{ [v]|literals }}"):
            with pytest.raises(PlanrunError):
                sql(text, v=value)


def test_other_values_come_back_equal(conn: psycopg.Connection[Any]) -> None:
    for value in OTHERS:
        found = one(conn, sql("select {{ v }}", v=value))
        assert found == value or float(found) == value
    assert one(conn, sql("select {{ v }}", v=float("nan"))) != 0
    assert one(conn, sql("select {{ v }}", v=float("-inf"))) == float("-inf")
    assert one(conn, sql("select 5-{{ v }}", v=-1)) == 6
    assert one(conn, sql("select 5 -{{ v }}", v=-2.5)) is not None


def test_lists_come_back_equal(conn: psycopg.Connection[Any]) -> None:
    for value in LISTS:
        assert one(conn, sql("select {{ v }}::text[]", v=value)) == value
        if value:
            assert one(conn, sql("select array[{{ v|literals }}]::text[]", v=value)) == value
    assert one(conn, sql("select {{ v }}::int[]", v=[[1, -2], [3, None]])) == [[1, -2], [3, None]]
    assert one(conn, sql("select {{ v }}::bool[]", v=[True, False])) == [True, False]
    assert one(conn, sql("select {{ v }}::float8[]", v=[1.5, float("inf")])) == [1.5, float("inf")]


def test_values_inside_a_body(conn: psycopg.Connection[Any]) -> None:
    """A value that holds `$$` must end nothing; all others arrive through two layers."""
    text = "do $do$ begin perform pg_catalog.set_config('planrun.v', {{ v }}::text, false); end $do$"
    for value in TEXTS:
        if "\n" in value:
            continue
        try:
            made = sql(text, v=value)
        except PlanrunError:
            assert "$" in value
            continue
        conn.execute(made)
        assert one(conn, "select pg_catalog.current_setting('planrun.v')") == value
    for value in ("$do$; drop table public.victim; do $do$", "x$do$"):
        with pytest.raises(PlanrunError):
            sql(text, v=value)


TEMPLATES = [
    *("select '{{ v }}'", "select 'x{{ v }}x'", 'select "{{ v }}"', 'select "{{ v|ident }}"', "select 1 -- {{ v }}\n"),
    *("select 1 /* {{ v }} */", "select {{ 'a' ~ v }}", "select {{ ('T'|ident) ~ v }}", "select {{ v|ident ~ v }}"),
    *("{% macro m(x) %}select {{ x }}{% endmacro %}{{ m(v) }}", "{% set b %}select {{ v }}{% endset %}{{ b }}"),
    *("{% set b %}select {{ v }}{% endset %}{{ b ~ v }}", "{% set b %}select {{ v }}{% endset %}{{ b|upper }}"),
    *("select {{ vs|join(', ') }}", "select {{ vs|map('ident')|join(', ') }}", "{{ v.__class__.__mro__ }}"),
    *("{{ '{0.__class__}'.format(v) }}", "{{ '%s'|format(v) }}", "{% filter upper %}select {{ v }}{% endfilter %}"),
    *(
        "{% macro m() %}select {{ caller() }}{% endmacro %}{% call m() %}{{ v }}{% endcall %}",
        "{{ v|raw }}",
        "{{ v|safe }}",
    ),
    *(
        "{{ range(10**9)|list }}",
        "{{ lipsum() }}",
        "{{ cycler.__init__ }}",
        '{{ "x\'; drop table victim" }}',
        "{{ v }}",
    ),
    *(
        "{% include v %}",
        "{% import v as x %}",
        "{% extends v %}",
        "{% from v import x %}",
        "{{ v|attr('__class__') }}",
    ),
    *("select {{ v|replace(\"'\", '') }}", "select {{ v|upper }}", "select {{ v|list }}", "select {{ v[1:] }}"),
    *(
        "select {{ v|first }}",
        "select {{ vs|sort|first }}",
        "select {{ v|ident|replace('\"', '') }}",
        "{{ v|_put(0, false) }}",
    ),
    *(
        "select {{ vs|map('_put', 0, false)|first }}",
        "{% autoescape true %}{{ v }}{% endautoescape %}",
        "select E{{ v }}",
    ),
    *("select U&{{ v }}", "select N{{ v }}", "select x{{ v }}", "select {{ v }}{{ v }}", "select {{ v }}\n{{ v }}"),
    *(
        "select '\\', {{ v }}",
        "select 'x\\', {{ v }} --'",
        "select $${{ v }}$$",
        "select $a$ '{{ v }}' $a$",
        "select ${{ v }}",
    ),
    *("do $$ begin execute '{{ v }}'; end $$", "do $$ begin /* {{ v }} */ end $$", "select $$ '$$ || {{ v }}"),
    *(
        "select {{ v|default(1) }}",
        "{% set x = v %}select {{ x }}",
        "{% if v %}select {{ v }}{% endif %}",
        "{{ self }}",
    ),
    *(
        "{% for x in vs %}select {{ x }};{% endfor %}",
        "select {{ v|ident }} from (select 1) t",
        "{{ loop }}",
        "{{ v|literal }}",
    ),
    *(
        "select {{ v if v else 1 }}",
        "select {{ (v, v)|literals }}",
        "select {{ v|ident|literal }}",
        "select {{ none }}",
    ),
]


def test_no_template_lets_a_value_out(conn: psycopg.Connection[Any]) -> None:
    """Whatever a template does with a value, the value is data: refused by us, by the server, or harmless."""
    for text in TEMPLATES:
        for value in TEXTS[:30]:
            _try(conn, text, value)
    assert one(conn, "select count(*) from public.victim") == 0


def _try(conn: psycopg.Connection[Any], text: str, value: str) -> None:
    try:
        made = sql(text, v=value, vs=[value, "b"])
    except PlanrunError:
        return
    _run(conn, made)


# ------------------------------------------------------------------ any text at all

ANY = st.text(alphabet=st.characters(), max_size=200) | st.text(
    alphabet="'\"\\$;-/*EUx&{}%\n\r\0 é漢\ud800", max_size=30
)
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(value=ANY)
@example(value="\\'")
@example(value="漢'")
def test_any_text_is_equal_or_refused(conn: psycopg.Connection[Any], value: str) -> None:
    good = "\0" not in value and not any("\ud800" <= sign <= "\udfff" for sign in value)
    if not good:
        with pytest.raises(PlanrunError):
            literal(value)
        with pytest.raises(PlanrunError):
            ident(value)
        return
    assert one(conn, sql("select {{ v }}::text", v=value)) == value
    if 0 < len(value.encode()) <= 63:
        cursor = conn.execute(f"select 1 as {ident(value)}")
        assert cursor.description is not None
        assert cursor.description[0].name == value


@SLOW
@given(
    values=st.lists(ANY.filter(lambda v: "\0" not in v and not any("\ud800" <= c <= "\udfff" for c in v)), min_size=1)
)
def test_any_list_is_equal(conn: psycopg.Connection[Any], values: list[str]) -> None:
    assert one(conn, f"select {literal(values)}::text[]") == values
    assert one(conn, f"select array[{literals(values)}]::text[]") == values


@SLOW
@given(
    value=ANY,
    before=st.text(alphabet="'\"\\$-/*E;ab \n()", max_size=8),
    after=st.text(alphabet="'\"\\$-/*;ab \n()", max_size=8),
)
def test_any_surroundings_are_refused_or_leave_the_value_whole(
    conn: psycopg.Connection[Any], value: str, before: str, after: str
) -> None:
    """Random text around a value: when it is let through, a quote more in the value changes nothing around it."""
    text = before + "{{ v }}" + after
    try:
        first, second = sql(text, v=value), sql(text, v=value + "'; drop table public.victim; --")
    except PlanrunError:
        return
    assert first.startswith(before) and second.startswith(before)
    assert first.endswith(after) and second.endswith(after)
    _run(conn, second)


def _run(conn: psycopg.Connection[Any], text: str) -> None:
    try:
        conn.execute(text)
    except psycopg.Error:
        conn.execute("rollback")


def test_psycopg_alone_would_not_do(db: str) -> None:
    """Why runner.sqltext quotes by itself: the case its first lines tell of."""
    from psycopg import sql as psycopg_sql

    with psycopg.connect(db, client_encoding="GBK"):
        pass
    assert literal("漢'") == "'漢'''"
    with psycopg.connect(db) as conn:
        assert psycopg_sql.Literal("漢'").as_string(conn) == literal("漢'")
        assert psycopg_sql.Identifier('a"b').as_string(conn) == ident('a"b')
        assert idents(["a", "b"]) == '"a", "b"'
