"""Guards: three values, names checked offline, nothing can be called."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import guard
from runner.errors import Mark, PlanError
from runner.model import UNKNOWN

HERE = Mark("p.yml", 7, 11)
BOOLS = dict.fromkeys(("ok", "warned", "failed", "skipped"), "boolean")
SHAPE = {
    "prepare": {**BOOLS, "state": "string"},
    "detect": {**BOOLS, "rows": "integer", "names": "array", "first": "object"},
}
SCOPE = {
    "prepare": {"ok": True, "failed": False, "state": "ok"},
    "detect": {"ok": True, "rows": 3, "names": ["a", "b"], "first": {"name": "x"}, "later": UNKNOWN},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("prepare.ok", True),
        ("not prepare.ok", False),
        ("prepare.failed or detect.rows > 2", True),
        ("prepare.ok and detect.rows == 4", False),
        ("1 < detect.rows <= 3", True),
        ("'a' in detect.names", True),
        ("'z' not in detect.names", True),
        ("prepare.state in ['ok', 'warned']", True),
        ("detect.first.name == 'x'", True),
        ("detect.rows > -1", True),
        ("true", True),
        ("detect.missing == none", True),
        ("detect.later > 1", None),
        ("prepare.ok and detect.later", None),
        ("prepare.failed and detect.later", False),
        ("prepare.ok or detect.later", True),
        ("not detect.later", None),
        ("detect.rows", False),
        ("detect.names > 3", False),
        ("(prepare.ok)", True),
    ],
)
def test_a_guard_gives_true_false_or_unknown(text: str, holds: bool | None) -> None:
    assert guard.evaluate(guard.parse(text, HERE), SCOPE).holds is holds


def test_the_verdict_names_what_decided() -> None:
    verdict = guard.evaluate(guard.parse("prepare.ok and detect.rows > 5", HERE), SCOPE)
    assert verdict.because == "prepare.ok is true, detect.rows is 3"


def test_the_verdict_writes_values_as_a_guard_would() -> None:
    verdict = guard.evaluate(guard.parse("a.count > 0", HERE), {"a": {"ok": False}})
    assert (verdict.holds, verdict.because) == (False, "a.count is none")


def test_an_unknown_verdict_names_only_the_unknown() -> None:
    assert guard.evaluate(guard.parse("prepare.ok and detect.later", HERE), SCOPE).because == (
        "detect.later is unknown until run"
    )


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("prepare.ok && detect.ok", 22, "'&&' is not known"),
        ("{{ prepare.ok }}", 11, "'{{' is not known"),
        ("${steps.x}", 11, "'${' is not known"),
        ("detect.rows >", 24, "not an expression"),
        ("len(detect.names)", 11, "Call is not allowed"),
        ("detect.names[0]", 11, "Subscript is not allowed"),
        ("'a' * 10", 11, "BinOp is not allowed"),
        ("x if y else z", 11, "IfExp is not allowed"),
        ("lambda: 1", 11, "Lambda is not allowed"),
        ("a := 1", 12, "not an expression"),
        ("f'{prepare}'", 11, "JoinedStr is not allowed"),
        ("not " * 400 + "true", 11, "at most 500 characters"),
        ("", 11, "not an expression"),
        ("''.rows == 2", 11, "only a name has fields"),
        ("(prepare or x).ok", 11, "only a name has fields"),
        ("'é' == b'x'", 18, "b'x' is not a value of a guard"),
        ("'漢漢' in [1j]", 20, "1j is not a value of a guard"),
        ("a\0b", 11, "not an expression"),
    ],
)
def test_what_is_no_guard_is_refused_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        guard.parse(text, HERE)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert (problem.where.line, problem.where.column) == (7, column) or "not an expression" in message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("prepar.ok", "no step 'prepar' comes before this one", "did you mean 'prepare'?"),
        ("detect.row > 1", "'detect' has no 'row'", "did you mean 'rows'?"),
        ("prepare", "'prepare' is not true or false", "did you mean 'prepare.ok'?"),
        ("detect.rows == '5'", "compares a integer with a string", ""),
        ("prepare.ok > 1", "compares a boolean with a integer", ""),
        ("prepare == 'ok'", "'prepare' has fields and is not a value", "name one of them"),
        ("1 in detect", "'detect' has fields and is not a value", "name one of them"),
        ("prepare.ok.deep", "'prepare.ok' is a boolean and has no fields", ""),
    ],
)
def test_names_and_types_are_checked_offline(text: str, message: str, hint: str) -> None:
    (problem,) = guard.check(guard.parse(text, HERE), SHAPE)
    assert (problem.message, problem.hint) == (message, hint)


def test_good_guards_have_no_problems() -> None:
    for text in ("prepare.ok", "detect.rows > 0 and not prepare.failed", "detect.first.anything == 1", "true"):
        assert guard.check(guard.parse(text, HERE), SHAPE) == []


def test_the_column_counts_characters() -> None:
    (problem,) = guard.check(guard.parse("'漢漢漢' == 'x' or nope.ok", HERE), SHAPE)
    assert problem.where.column == HERE.column + 16
    with pytest.raises(PlanError) as caught:
        guard.parse("漢漢漢漢 in 0001", HERE)
    assert caught.value.problems[0].where.column <= HERE.column + 12


@pytest.mark.filterwarnings("error")
def test_python_warns_nobody_about_a_guard() -> None:
    guard.parse("prepare.name == '\\d'", HERE)
    guard.parse("1or prepare.ok", HERE)


def test_names_are_listed_once_each_in_full() -> None:
    found = list(guard.names(guard.parse("prepare.ok and not (detect.rows > 1 or true)", HERE)))
    assert found == [("prepare", "ok"), ("detect", "rows")]


@given(st.text(max_size=60))
def test_any_text_is_a_guard_or_a_plan_error(text: str) -> None:
    try:
        parsed = guard.parse(text, HERE)
    except PlanError:
        return
    guard.check(parsed, SHAPE)
    assert guard.evaluate(parsed, SCOPE).holds in (True, False, None)


def test_unknown_never_turns_into_true_whatever_it_becomes() -> None:
    """If a guard holds while something is unknown, it holds for every value the unknown may take."""
    text = "a.ok and (b.ok or not c.ok)"
    parsed = guard.parse(text, HERE)
    for values in itertools.product((True, False, UNKNOWN), repeat=3):
        scope = {name: {"ok": value} for name, value in zip("abc", values, strict=True)}
        holds = guard.evaluate(parsed, scope).holds
        choices = [(True, False) if value is UNKNOWN else (value,) for value in values]
        becomes = {
            guard.evaluate(parsed, {n: {"ok": v} for n, v in zip("abc", chosen, strict=True)}).holds
            for chosen in itertools.product(*choices)
        }
        assert holds is None or becomes == {holds}
