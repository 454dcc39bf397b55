"""status, history and explain, from records as a journal may hold them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.journal.history import RunRecord, fold
from runner.model import Plan
from runner.report import runs
from tests.made import HOSTILE

PLAN = Plan(name="p", file="p.yml", folder=Path("/"), root=Path("/"), digest="d1", steps=())


def record(event: str, **more: Any) -> dict[str, Any]:
    return {"run": "r1", "event": event, "at": "2025-07-20T12:26:55.178+00:00", **more}


BEGAN = record("run_began", plan="p", mode="apply", digest="d1", host="h", pid=7, user="u")
A = record("turn", path="a", uses="sql", because="x.ok is true", actions=[{"action": "sql", "text": "select 1\n"}])
A_OK = record("outcome", path="a", state="ok", message="", outputs={"count": 3})
B = record("turn", path="b", uses="command", actions=[{"action": "command", "argv": ["x"]}])
B_FAILED = record("outcome", path="b", state="failed", message="one\ntwo", hint="do this")
ENDED = record(
    "run_ended",
    at="2025-07-20T12:28:15.178+00:00",
    state="failed",
    exit_code=1,
    message="one",
    next="planrun apply p.yml --resume",
)


def run(*records: dict[str, Any]) -> RunRecord:
    (found,) = fold([BEGAN, *records])
    return found


def test_status_says_where_the_run_stands_and_what_to_type() -> None:
    shown = runs.status(run(A, A_OK, B, B_FAILED, ENDED), PLAN, "")
    assert shown == (
        "run r1 of p (apply): failed after 1 min 20 s; began 2025-07-20 12:26:55 UTC, by u@h\n"
        "  a: ok\n  b: failed: one | two\n    hint: do this\nnext: planrun apply p.yml --resume\n"
    )


@pytest.mark.parametrize(
    ("records", "plan", "holder", "wanted", "not_wanted"),
    [
        ([A, A_OK, B], PLAN, "", ["cut off", "while b was at work", "b: begun, no end written", "--resume"], []),
        ([A, A_OK, B], PLAN, "run r1, pid 7", ["running now: run r1, pid 7"], ["killed", "next:"]),
        ([A], replace(PLAN, digest="d2"), "", ["changed since", "next: planrun apply p.yml --resume"], []),
        ([{**ENDED, "state": "ok", "exit_code": 0}], PLAN, "", [": ok after"], ["next:"]),
    ],
)
def test_status_of_other_ends(
    records: list[dict[str, Any]], plan: Plan, holder: str, wanted: list[str], not_wanted: list[str]
) -> None:
    shown = runs.status(run(*records), plan, holder)
    assert all(words in shown for words in wanted), shown
    assert not any(words in shown for words in not_wanted), shown


def test_a_plan_that_never_ran() -> None:
    assert runs.status(None, PLAN, "") == "p: never run\nnext: planrun diff p.yml\n"
    assert runs.history([]) == "never run\n"
    assert runs.status_json(None, PLAN, "") == {
        "next": "planrun diff p.yml",
        "running": None,
        "last": None,
        "refreshes": [],
    }


def test_a_rollback_that_failed_is_begun_anew() -> None:
    (found,) = fold([{**BEGAN, "mode": "rollback"}, ENDED])
    assert "next: planrun rollback p.yml" in runs.status(found, PLAN, "")


def test_history_is_a_line_a_run() -> None:
    assert runs.history([run(), run(ENDED)]).count("\n") == 2
    assert ", 2 attempts" in runs.history([run(BEGAN)])


def test_explain_says_guard_actions_end_and_outputs() -> None:
    shown = runs.explain(run(A, A_OK, B, B_FAILED, ENDED), "")
    assert "a  sql  [ok]\n  because x.ok is true\n  sql:\n    select 1\n  gave count = 3\n" in shown
    assert "b  command  [failed]\n  one | two\n  hint: do this\n  command: " in shown
    assert "\na  sql" not in runs.explain(run(A, A_OK, B), "b")
    assert "begun, no end written" in runs.explain(run(B), "")


def test_a_long_value_is_cut_and_says_where_all_of_it_is() -> None:
    found = run(A, {**A_OK, "outputs": {"output": "x" * 9000}})
    shown = runs.explain(found, "a")
    assert len(shown) < 1200 and "-o json" in shown
    assert "x" * 9000 in json.dumps(runs.explain_json(found, "a"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just(HOSTILE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
KEYS = sorted({key for each in (BEGAN, A, A_OK, B_FAILED, ENDED) for key in each} - {"run", "event"})
MANGLED = st.builds(
    lambda base, changes, lost: {key: value for key, value in {**base, **changes}.items() if key != lost},
    st.sampled_from([BEGAN, A, A_OK, B, B_FAILED, ENDED]),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2),
    st.sampled_from(["", *KEYS]),
)


@settings(max_examples=50)
@given(st.lists(MANGLED, max_size=8))
def test_whatever_a_journal_holds_can_be_shown(records: list[dict[str, Any]]) -> None:
    for found in fold([BEGAN, *records]):
        assert runs.status(found, PLAN, "") and runs.explain(found, "") and runs.history([found])
        json.dumps([runs.status_json(found, PLAN, ""), runs.explain_json(found, "")])
        assert set(found.recorded_outcomes()) <= set(found.planned_steps) | set(found.outcomes)


def test_the_reason_of_a_loss_stays_in_the_journal() -> None:
    shown = runs.explain(run({**A, "acknowledge": "an import table"}, A_OK), "a")
    assert "  acknowledged: an import table\n" in shown
    assert runs.explain_json(run({**A, "acknowledge": "x"}, A_OK), "a")["steps"][0]["acknowledge"] == "x"
