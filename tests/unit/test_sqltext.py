"""Values to SQL text. That real servers read it back as it was is shown in test_attack.py."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest

from runner.sqltext import (
    SqlText,
    UnsafeValue,
    ident,
    idents,
    literal,
    literals,
    qualified,
)


class Colour(StrEnum):
    RED = "r'ed"


class Number(IntEnum):
    ONE = 1


class Liar(str):
    """A text that hides its quotes from whoever asks."""

    def replace(self, *args: Any, **kwargs: Any) -> str:
        return "x"

    def __contains__(self, key: object) -> bool:
        return False

    def __str__(self) -> str:
        return "x"


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (None, "NULL"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (-7, " -7"),
        (2**70, str(2**70)),
        (Number.ONE, "1"),
        (2.5, "2.5"),
        (-0.0, " -0.0"),
        (1e300, "1e+300"),
        (float("nan"), "'nan'::pg_catalog.float8"),
        (float("-inf"), "'-inf'::pg_catalog.float8"),
        (Decimal("-1.50"), " -1.50"),
        (Decimal("NaN"), "'NaN'::pg_catalog.numeric"),
        ("", "''"),
        ("it's", "'it''s'"),
        ("a\\b", " E'a\\\\b'"),
        ("\\'", " E'\\\\'''"),
        ("%s {{ 7*7 }} $$", "'%s {{ 7*7 }} $$'"),
        (Colour.RED, "'r''ed'"),
        (date(2025, 7, 20), "'2025-07-20'::pg_catalog.date"),
        (datetime(2025, 7, 20, 1, 2, 3), "'2025-07-20T01:02:03'::pg_catalog.timestamp"),
        (datetime(2025, 7, 20, tzinfo=UTC), "'2025-07-20T00:00:00+00:00'::pg_catalog.timestamptz"),
        (UUID(int=1), "'00000000-0000-0000-0000-000000000001'::pg_catalog.uuid"),
        ([], "'{}'"),
        (["a", 'b"', None, "c'd"], """'{"a","b\\"",NULL,"c''d"}'""".replace("'{", " E'{").replace("\\", "\\\\")),
        ([[1, -2], [True, 2.5]], """'{{"1","-2"},{"t","2.5"}}'"""),
        ((date(2025, 7, 20),), """'{"2025-07-20"}'"""),
    ],
)
def test_literal(value: Any, sql: str) -> None:
    made = literal(value)
    assert made == sql
    assert type(made) is SqlText


@pytest.mark.parametrize(
    "value",
    [
        *("a\0b", "\ud800", ["a\0"], ["\udfff"], {"a": 1}, OrderedDict(a=1), b"x", bytearray(b"x"), object()),
        *([{"a": 1}], [b"x"], [object()], {1}, 1j, iter([]), 10**5000, Decimal("sNaN"), str, literal),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_literal_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(UnsafeValue) as info:
        literal(value)
    assert info.value.exit_code == 5
    assert "\0" not in str(info.value)


def test_a_refused_secret_is_not_in_the_message() -> None:
    for secret in ("hunter2\0", {"password": "hunter2"}, b"hunter2"):
        with pytest.raises(UnsafeValue) as info:
            literal(secret)
        assert "hunter2" not in str(info.value)


def test_a_text_that_lies_about_itself_is_read_as_it_is() -> None:
    assert literal(Liar("'; drop table t; --\\")) == " E'''; drop table t; --\\\\'"
    assert ident(Liar('a"b')) == '"a""b"'
    with pytest.raises(UnsafeValue):
        literal(Liar("a\0"))


def test_finished_sql_as_a_literal_is_its_text() -> None:
    assert literal(qualified("public", "Area")) == """'"public"."Area"'"""


@pytest.mark.parametrize(
    ("name", "sql"),
    [("area", '"area"'), ("Area", '"Area"'), ('a"b', '"a""b"'), ("a.b", '"a.b"'), ("é" * 31, f'"{"é" * 31}"')],
)
def test_ident(name: str, sql: str) -> None:
    assert ident(name) == sql
    assert type(ident(name)) is SqlText


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 64, "é" * 32, 7, None, b"x", ["a"], {"a": 1}])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(UnsafeValue):
        ident(name)


def test_an_identifier_is_not_quoted_twice() -> None:
    with pytest.raises(UnsafeValue, match="already"):
        ident(ident("a"))


def test_qualified() -> None:
    assert qualified("my schema", 'T"') == '"my schema"."T"""'
    with pytest.raises(UnsafeValue):
        qualified("", "t")


def test_lists() -> None:
    assert literals(["a", 1, None]) == "'a', 1, NULL"
    assert idents(["a", {"schema": "s", "name": "b"}]) == '"a", "s"."b"'
    assert idents(name for name in ("a", "b")) == '"a", "b"'


@pytest.mark.parametrize("values", [[], (), "abc", b"abc", {"a": 1}, None, 7])
def test_what_is_no_list_is_refused(values: Any) -> None:
    for write in (literals, idents):
        with pytest.raises(UnsafeValue):
            write(values)


def test_nothing_done_to_finished_sql_stays_finished() -> None:
    made = literal("it's")
    other: Any
    for other in (made + "x", made[:3], made[:], made.replace("z", ""), made.upper(), made.strip(), made * 1):
        assert type(other) is str, other
    assert type(str(made)) is SqlText


def test_importing_is_cheap() -> None:
    code = "import sys, runner.sqltext\nfrom runner.safesql import sqlcheck, syntax, templates\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"psycopg", "jinja2", "postgast"}.isdisjoint(done.stdout.split())
