"""What a resume goes by: the plan compared with what it was, and what is known of the attempt before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ChangedError, PlanrunError, UsageError
from runner.journal.history import RunRecord, fold
from runner.model import Plan
from runner.redact import Redactor
from runner.run import resumption
from tests.made import HOSTILE, clean

PLAN = Plan(
    name="p", file="p.yml", folder=Path(), root=Path(), digest="b" * 64, steps=(),
    content={"p.yml": "name: p\nsteps: []\n", "params": "n: 2\n", "planrun": "0.3.0\n"},
)  # fmt: skip
BEGAN: dict[str, Any] = {
    "event": "run_began", "run": "r1", "at": "2025-07-20T12:26:55+00:00", "mode": "apply", "plan": "p",
    "digest": "a" * 64, "host": "h", "pid": 7, "user": "u", "content": dict(PLAN.content), "sets": [],
}  # fmt: skip
NOTHING = Redactor({})


def planned_record(path: str, *actions: dict[str, Any]) -> dict[str, Any]:
    return {"event": "turn", "run": "r1", "path": path, "uses": "sql", "actions": list(actions)}


def outcome(path: str, state: str, message: str = "") -> dict[str, Any]:
    return {"event": "outcome", "run": "r1", "path": path, "state": state, "message": message}


def did(path: str, key: str = "k") -> dict[str, Any]:
    return {"event": "action_done", "run": "r1", "path": path, "key": key, "result": {}}


def run(*records: dict[str, Any], **began: Any) -> RunRecord:
    (found,) = fold([{**BEGAN, **began}, *records])
    return found


SQL = {"action": "sql", "text": "select 1", "transaction": True}
BARE = {**SQL, "transaction": False}


# ------------------------------------------------------------------ is it the same plan?


def change_text(one: RunRecord, plan: Plan, redactor: Redactor = NOTHING) -> str:
    with pytest.raises(ChangedError) as caught:
        resumption.same_plan(one, plan, "", redactor)
    return str(caught.value)


def test_the_same_plan_goes_on() -> None:
    resumption.same_plan(run(digest=PLAN.digest), PLAN, "", NOTHING)
    resumption.same_plan(run(digest=PLAN.digest), PLAN, "b" * 12, NOTHING)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"p.yml": "name: p\nsteps: [x]\n"}, "  p.yml:2\n    - steps: [x]\n    + steps: []\n"),
        ({"params": "n: 1\n"}, "  params\n    - n: 1\n    + n: 2\n"),
        ({"planrun": "0.2.0\n"}, "  planrun\n    - 0.2.0\n    + 0.3.0\n"),
        ({"steps/a.yml": "x\n"}, "  steps/a.yml: is no longer part of the plan\n"),
        ({}, "  a value that is kept secret, in the params or the --set words\n"),
    ],
)
def test_what_changed_is_shown_with_the_command_that_accepts_it(content: dict[str, str], wanted: str) -> None:
    said = change_text(run(content={**PLAN.content, **content}), PLAN)
    assert wanted in said
    assert "(digest aaaaaaaaaaaa then, bbbbbbbbbbbb now)" in said
    assert said.endswith(
        "hint: continue with the changed plan: planrun apply p.yml --resume --accept bbbbbbbbbbbb\n"
        "  or start again: planrun apply p.yml"
    )


def test_a_run_that_recorded_no_text_and_one_of_another_plan_altogether() -> None:
    assert "did not record the text of its plan" in change_text(run(content={}), PLAN)
    other = replace(PLAN, content={"p.yml": "".join(f"line {n}\n" for n in range(300))})
    said = change_text(run(), other)
    assert len(said.splitlines()) < 50 and "more" in said


def test_the_words_of_set_are_compared_and_typed_again() -> None:
    plan = replace(PLAN, sets=("n=2", "name=it's"))
    said = change_text(run(sets=["n=1"]), plan)
    assert "  --set\n    - n=1\n    + n=2\n    + name=it's\n" in said
    assert """--set n=2 --set 'name=it'"'"'s' --resume --accept""" in said
    assert (
        "  hint: continue with the plan as it was: planrun apply p.yml --set n=1 --resume\n  or continue with the "
        "changed plan: " in said
    )


def test_differences_show_no_secret_and_drive_no_terminal() -> None:
    secret = Redactor({"DB_PASSWORD": "hunter2222"})
    plan = replace(PLAN, content={"p.yml": f"# hunter2222\n# {HOSTILE}\n"})
    said = change_text(run(content={"p.yml": "# ***\n"}), plan, secret)
    assert "hunter" not in said
    clean(said.replace("\n", " "))


def test_a_digest_of_something_else_is_not_accepted() -> None:
    for accept in ("c" * 12, "b" * 11, "B" * 12):
        with pytest.raises(ChangedError, match=f"--accept {accept} is not the digest"):
            resumption.same_plan(run(), PLAN, accept, NOTHING)
    with pytest.raises(UsageError, match="the plan did not change"):
        resumption.same_plan(run(digest=PLAN.digest), PLAN, "c" * 12, NOTHING)


def test_a_change_that_is_accepted_forgets_what_was_confirmed() -> None:
    ask = [planned_record("ask", {"action": "confirm", "message": "Really?"}), outcome("ask", "ok")]
    one = run(*ask, planned_record("a", SQL), did("a"), outcome("a", "ok"))
    assert set(one.recorded_outcomes()) == {"ask", "a"}
    resumption.same_plan(one, PLAN, "b" * 12, NOTHING)
    assert set(one.recorded_outcomes()) == {"a"}


# ------------------------------------------------------------------ what was found


LOAD = {"action": "load", "into": "planrun_shadow_public"}
NOTE = {"action": "note", "text": "look"}
MANY = {"action": "together", "jobs": 2, "branches": [[SQL], [SQL]]}


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([planned_record("a", SQL)], "cut off at work; nothing of it was committed; it is done again"),
        ([planned_record("a", BARE)], "cut off at work; its statements may be partly done; they run again"),
        (
            [planned_record("a", {"action": "command", "argv": ["x"]})],
            "cut off at work; its program may have done its work",
        ),
        ([planned_record("a", NOTE, NOTE, LOAD), did("a", "1"), did("a", "2")], "cut off at work; the shadow tables"),
        ([planned_record("a", LOAD)], "cut off at work; the shadow tables it was loading are removed and loaded again"),
        ([planned_record("a", MANY), did("a", "1")], "cut off at work; 1 of 2 actions done, the others are done again"),
        (
            [planned_record("a", SQL), outcome("a", "failed", "no\nroom")],
            "failed (no | room); nothing of it was committed",
        ),
    ],
)
def test_a_step_that_was_begun_is_told_with_what_is_there_of_it(records: list[dict[str, Any]], said: str) -> None:
    (what,) = resumption.describe(run(*records)).begun.values()
    assert what.startswith(said)


def test_a_commit_that_nobody_heard_of() -> None:
    one = run(planned_record("a", SQL), did("a"))
    one.settled["a"] = "committed"
    assert resumption.describe(one).begun == {"a": "cut off at work; its COMMIT succeeded, so it is done"}


def test_what_is_done_is_named_once_and_groups_are_not() -> None:
    records = [
        planned_record("g.a", SQL),
        did("g.a"),
        outcome("g.a", "ok"),
        planned_record("g"),
        outcome("g", "ok"),
        planned_record("b", SQL),
    ]
    found = resumption.describe(run(*records, {**BEGAN, "at": "2025-07-21T00:00:00+00:00", "mode": "resume"}))
    assert (found.done, found.state, found.who) == (("g.a",), "cut off", "pid 7 on h")
    assert found.begun == {"b": "begun by an earlier attempt; nothing of it was committed; it is done again"}
    assert found.last == "2025-07-21T00:00:00+00:00"


def test_what_is_gone_is_not_told_as_done() -> None:
    gone = {**outcome("a", "failed", "the shadow tables are gone"), "exit_code": 1}
    one = run(
        planned_record("a", LOAD),
        did("a"),
        outcome("a", "ok"),
        {**BEGAN, "mode": "resume"},
        {**planned_record("a"), "settled": True},
        gone,
    )
    found = resumption.describe(one)
    assert found.done == () and found.begun == {
        "a": "failed (the shadow tables are gone); the run cannot continue without it"
    }


def test_what_cannot_be_resumed_says_why() -> None:
    with pytest.raises(UsageError, match=r"unfinished run r1 is a rollback") as caught:
        resumption.run_to_resume(run(mode="rollback", options=["--accept-data-loss"]), PLAN)
    assert caught.value.hint == "planrun rollback p.yml --accept-data-loss"
    with pytest.raises(UsageError, match="no unfinished run"):
        resumption.run_to_resume(None, PLAN)
    hidden = {**did("a"), "hidden": True}
    with pytest.raises(PlanrunError, match=r"the outputs of a contained a secret.*cannot be resumed"):
        resumption.run_to_resume(
            run(planned_record("a", {"action": "command", "argv": ["x"]}), hidden, outcome("a", "ok")), PLAN
        )
