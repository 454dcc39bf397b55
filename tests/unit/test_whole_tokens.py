"""The whole-token check by itself; what it makes of templates is in test_templates.py and test_attack.py."""

from __future__ import annotations

import time

import pytest

from runner.safesql.syntax import BadSql
from runner.safesql.whole_tokens import Span, check


def spans(text: str, value: str) -> list[Span]:
    found, at = [], text.find(value)
    while at >= 0:
        found.append(Span(at, at + len(value), at))
        at = text.find(value, at + 1)
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [("select 'v', 'v'", "'v'"), ('select "é"."v"', '"v"'), ("do $$ perform 'v'; $$", "'v'"), ("select 1", "2")],
)
def test_whole_values_pass(text: str, value: str) -> None:
    check(text, spans(text, value))


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        ("select -- 'v'\n1", "'v'", "in a comment"),
        ("select 'a 'v' b'", "'v'", "beside|inside|unterminated"),
        ("select 'a  v  b'", "v", "inside quotes"),
        ("select $$ 'v' $$ language plperl", "'v'", "language plperl"),
        ("select '\\', 'v'", "'v'", "read in two ways"),
        ("select x'v'", "'v'", "must not touch"),
    ],
)
def test_others_do_not(text: str, value: str, message: str) -> None:
    with pytest.raises(BadSql, match=message):
        check(text, spans(text, value))


def test_a_text_without_values_is_nobodys_business() -> None:
    check("not 'sql at all", [])


def test_thousands_of_values_are_quick() -> None:
    text = "insert into t values " + ", ".join(["('v', 'é')"] * 20_000)
    values = spans(text, "'v'")
    began = time.perf_counter()
    check(text, values)
    assert time.perf_counter() - began < 5
