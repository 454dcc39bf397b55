"""`${}` values: references keep types, unknown swallows, nothing is ever run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model import UNKNOWN
from runner.planfile import open_plan
from runner.values import BadValue, Ref, Text, has_unknown, parse, refs, resolve, steps

SCOPE = {
    "params": {"n": 3, "on": True, "names": ["a", "b"]},
    "steps": {"find": {"tables": [{"name": "x"}], "rows": UNKNOWN}},
    "env": {"HOME": "/root"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${params.n}", 3),
        ("${ params.on }", True),
        ("${params.names}", ["a", "b"]),
        ("${steps.find.tables.0.name}", "x"),
        ("n=${params.n} on=${params.on}", "n=3 on=true"),
        ("cost: $5", "cost: $5"),
        ("$${params.n}", "${params.n}"),
        ("$${a} ${params.n}", "${a} 3"),
        ("${steps.find.rows}", UNKNOWN),
        ("about ${steps.find.rows} rows", UNKNOWN),
    ],
)
def test_a_string_becomes_what_it_refers_to(text: str, value: object) -> None:
    assert resolve(parse(text), SCOPE) == value


@pytest.mark.parametrize(
    "text", ["${", "${}", "${params.n", "${1+1}", "${params.n | upper}", "${__import__('os')}", "${nothing.x}"]
)
def test_anything_but_a_dotted_name_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        parse(text)


def test_the_offset_points_at_the_reference() -> None:
    with pytest.raises(BadValue) as caught:
        parse("good ${params.n} bad ${what}")
    assert caught.value.offset == 21


def test_references_are_found_with_their_place() -> None:
    tree = parse({"a": ["x ${params.n}", {"b": "${item.name}"}]})
    assert [(path, ref.text) for path, ref in refs(tree)] == [
        (("a", 0), "${params.n}"),
        (("a", 1, "b"), "${item.name}"),
    ]
    assert tree["a"][1]["b"] == Ref(("item", "name"), "${item.name}")
    assert isinstance(tree["a"][0], Text)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(KeyError, match=r"params\.nope"):
        resolve(parse("${params.nope}"), SCOPE)


def test_a_number_of_thousands_of_digits_is_no_place_in_a_list() -> None:
    with pytest.raises(KeyError):
        resolve(parse("${params.list." + "9" * 5000 + "}"), {"params": {"list": [1]}})


def test_unknown_is_found_deep_inside() -> None:
    assert has_unknown({"a": [1, {"b": UNKNOWN}]})
    assert not has_unknown({"a": [1, {"b": None}]})


@given(st.text())
def test_text_without_braces_stays_and_nothing_else_escapes(text: str) -> None:
    try:
        parsed = parse(text)
    except BadValue:
        assert "${" in text
        return
    if "${" not in text:
        assert parsed == text


@given(st.text())
def test_doubled_dollar_gives_back_any_text(text: str) -> None:
    assert resolve(parse(text.replace("${", "$${")), {}) == text or "$${" in text


def test_a_variable_that_is_not_set_where_a_plan_was_read_offline_is_unknown(tmp_path: Path) -> None:
    """`backups check` of a monitor has no variables of the plan's programs."""
    (tmp_path / "p.yml").write_text(
        'name: p\nsteps: [{id: say, uses: command, with: {argv: [sh, -c, "${env.NOT_SET_HERE}"]}}]\n'
    )
    plan = open_plan(tmp_path / "p.yml", env={}, offline=True)
    ((step, values),) = steps(plan)
    assert step.id == "say" and values["argv"] == ["sh", "-c", UNKNOWN]
