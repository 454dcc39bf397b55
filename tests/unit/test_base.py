"""Params from data: converted, checked like the schema does, and refused with the way to the value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.kinds.base import BadParam, SqlParams, build, param
from runner.language.checking import Checker
from runner.language.schema import params_schema
from runner.language.source import Document, Place

FOLDER = Path("/srv/plans")


@dataclass(frozen=True, kw_only=True)
class Params:
    name: str = param("A name.", minLength=2, maxLength=5, pattern="^[a-z]+$")
    jobs: int = param("How many.", default=2, minimum=1, maximum=8)
    rate: float = param("How fast.", default=1.0, exclusiveMinimum=0)
    mode: Literal["a", "b"] = param("Which.", default="a")
    zip: bool | Literal["gzip"] = param("Compression.", default=False)
    tables: tuple[str, ...] = param("Tables.", default=(), uniqueItems=True, maxItems=2, items={"minLength": 1})
    wait: float = param("How long.", default="5s", unit="duration")
    big: int | None = param("How big.", default=None, unit="size")
    maybe: str | None = param("Perhaps.", default=None)
    values: Mapping[str, Any] = field(default_factory=dict, metadata={"description": "Values."})
    to: str = param("A folder.", default="out", path=True)


def error_of(**data: Any) -> BadParam:
    with pytest.raises(BadParam) as caught:
        build(Params, {"name": "abc", **data}, FOLDER)
    return caught.value


def test_defaults_are_converted_too() -> None:
    made = build(Params, {"name": "abc"}, FOLDER)
    assert (made.jobs, made.wait, made.big, made.to, made.values) == (2, 5.0, None, "/srv/plans/out", {})


def test_values_are_converted() -> None:
    data = {"tables": ["a", "b"], "wait": "2min", "big": "1kB", "to": "../x", "values": {"a": [1]}, "rate": 3}
    made = build(Params, {"name": "abc", **data}, FOLDER)
    assert made.tables == ("a", "b")
    assert (made.wait, made.big, made.to, made.values) == (120.0, 1024, "/srv/x", {"a": [1]})
    assert type(made.rate) is float
    assert build(Params, {"name": "abc", "big": 5, "wait": 5}, FOLDER).big == 5
    assert build(Params, {"name": "abc", "maybe": None, "to": ""}, FOLDER).to == ""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "a"}, 'name: "a" is shorter than 2 characters'),
        ({"name": "abcdef"}, 'name: "abcdef" is longer than 5 characters'),
        ({"name": "A1"}, 'name: "A1" does not match ^[a-z]+$'),
        ({"name": None}, "name: null is not a text"),
        ({"name": ["a"]}, 'name: ["a"] is not a text'),
        ({"jobs": 0}, "jobs: 0 is less than 1"),
        ({"jobs": 9}, "jobs: 9 is more than 8"),
        ({"jobs": "many"}, 'jobs: "many" is not an integer'),
        ({"jobs": True}, "jobs: true is not an integer"),
        ({"jobs": 1.5}, "jobs: 1.5 is not an integer"),
        ({"rate": 0}, "rate: 0.0 is not more than 0"),
        ({"mode": "c"}, 'mode: "c" is not one of "a", "b"'),
        ({"zip": "zstd"}, 'zip: "zstd" is not one of "gzip"'),
        ({"zip": 1}, 'zip: 1 is not one of "gzip"'),
        ({"tables": "a"}, 'tables: "a" is not a list'),
        ({"tables": [None]}, "tables: null is not a text"),
        ({"tables": ["a", "a"]}, "tables: an item is given twice"),
        ({"tables": ["a", "b", "c"]}, 'tables: ["a", "b", "c"] has more than 2 items'),
        ({"tables": [""]}, 'tables: "" is shorter than 1 characters'),
        ({"wait": "soon"}, 'wait: "soon" is not a duration such as 250ms, 30s, 5min, 2h or 30d'),
        ({"big": "64"}, 'big: "64" is not a size such as 512kB, 64MB or 2GB'),
        ({"values": []}, "values: [] is not a mapping"),
        ({"to": "~nobody-of-this-name"}, 'to: "~nobody-of-this-name" is not a path'),
        ({"nmae": 1}, "'nmae' is not known here"),
    ],
)
def test_refused(data: dict[str, Any], message: str) -> None:
    exc = error_of(**data)
    assert exc.message.startswith(message)
    assert exc.path == (next(iter(data)),)
    assert exc.exit_code == 5


def test_a_missing_value() -> None:
    with pytest.raises(BadParam, match="'name' is missing"):
        build(Params, {}, FOLDER)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10),
    st.floats(-2, 10),
    st.sampled_from(["a", "b", "ab", "abcdef", "A", "gzip", "5s", "5min", "64MB", "soon", "", "x/y"]),
    st.lists(st.sampled_from(["a", "b", "", 1, None]), max_size=3),
    st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2),
)


def fits(data: Mapping[str, Any]) -> bool:
    document = Document(data, Place("p", (1, 1)))
    return not list(Checker(params_schema(Params)).problems(data, document))


def number_for_text(data: Mapping[str, Any]) -> bool:
    texts = (data.get("name"), data.get("maybe"), data.get("to"), *(data.get("tables") or ()))
    return any(type(value) in (int, float) for value in texts)


@settings(deadline=None, max_examples=500)
@given(st.sampled_from(sorted(Params.__dataclass_fields__)), VALUES)
def test_build_and_the_schema_refuse_the_same(name: str, value: Any) -> None:
    data = {"name": "abc", name: value}
    if not isinstance(data.get("tables", []), list) or not number_for_text(data):
        try:
            build(Params, data, FOLDER)
        except BadParam:
            assert not fits(data)
        else:
            assert fits(data)


def test_the_sql_of_a_step_is_its_text_as_it_is_or_rendered() -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def sql(name: str, /, **values: object) -> str:
        asked.append((name, values))
        return "made"

    assert SqlParams(text="select '{{1,2}}'").render_sql(sql) == "select '{{1,2}}'"
    assert SqlParams(text="select {{ a }}", values={"a": 1}).render_sql(sql) == "made"
    assert SqlParams(file="x.sql", values={"name": 1}).render_sql(sql) == "made"
    assert asked == [("select {{ a }}", {"a": 1}), ("x.sql", {"name": 1})]


def test_the_sql_of_a_step_stands_in_one_place() -> None:
    both: list[dict[str, Any]] = [{}, {"text": "select 1", "file": "x.sql"}]
    for words in both:
        with pytest.raises(BadParam, match="either `text` or `file`"):
            SqlParams(**words)
