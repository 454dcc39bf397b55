"""Hooks: what they see, when they run, and that the run ends as it would without them."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import api
from runner.cancel import Cancel
from runner.errors import Interrupted, PlanError, PlanrunError
from runner.events import Event, HooksBegan, StepEnded, StepPlanned
from runner.model import Plan
from runner.planfile import open_plan, prove
from runner.result import RunResult

OK, BAD = '[sh, -c, "true"]', '[sh, -c, "exit 3"]'


def command(name: str, argv: str = OK, more: str = "") -> str:
    return f"  - {{id: {name}, {more} uses: command, with: {{argv: {argv}}}}}\n"


def load(folder: Path, text: str, *, offline: bool = False) -> Plan:
    (folder / "plan.yml").write_text(textwrap.dedent(text))
    return open_plan(folder / "plan.yml", env=dict(os.environ), offline=offline)


def run(folder: Path, text: str, **more: Any) -> RunResult:
    env = {**os.environ, "PLANRUN_STATE_DIR": str(folder / "state")}
    return api.apply(load(folder, text), env=env, **more)


def states(result: RunResult) -> dict[str, str]:
    return {step.path: step.state for step in result.hooks}


def wrong(folder: Path, text: str) -> str:
    with pytest.raises(PlanError) as raised:
        prove(load(folder, text))
    return str(raised.value)


# ------------------------------------------------------------------ what a plan says


HEAD = "name: p\nsteps:\n" + command("save") + command("swap")


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (command("a", more="when: save.okk,"), "PR0204 'save' has no 'okk'\n  hint: did you mean 'ok'?"),
        (
            command("a", more="when: swop.ok,"),
            "PR0204 no step 'swop' comes before this one\n  hint: did you mean 'swap'?",
        ),
        (command("a", more="when: run.sate == 'ok',"), "PR0204 'run' has no 'sate'\n  hint: did you mean 'state'?"),
        (
            command("a", '[echo, "${run.eror}"]'),
            "PR0202 ${run.eror}: 'run' has no 'eror'\n  hint: did you mean 'error'?",
        ),
        (
            command("a", '[echo, "${steps.save.outptu}"]'),
            "'steps.save' has no 'outptu'\n  hint: did you mean 'output'?",
        ),
        (command("a", more="when: run.seconds == 'long',"), "PR0204 compares a number with a string"),
        (command("a", more="on_error: fail,"), "PR1089 a hook cannot make the run fail"),
        (
            "  - {id: a, uses: comand, with: {}}\n",
            "there is no kind or template 'comand'\n  hint: did you mean 'command'?",
        ),
        ("  []\n", "on_failure: [] is empty"),
    ],
)
def test_what_a_hook_names_is_checked_with_the_rest_of_the_plan(tmp_path: Path, hook: str, problem: str) -> None:
    assert problem in wrong(tmp_path, HEAD + "on_failure:\n" + hook)


def test_only_hooks_see_how_a_run_ended(tmp_path: Path) -> None:
    hint = "only hooks see how the run ended: on_success, on_failure, on_exit"
    assert hint in wrong(tmp_path, "steps:\n" + command("a", '[echo, "${run.state}"]'))
    assert hint in wrong(tmp_path, "steps:\n" + command("a", more="when: run.state == 'ok',"))
    assert "PR0202" in wrong(
        tmp_path, HEAD + "on_exit:\n" + command("a") + "rollback:\n" + command("b", '["${run.state}"]')
    )


def test_steps_cannot_have_the_names_of_the_blocks(tmp_path: Path) -> None:
    assert '"on_exit" is a reserved word' in wrong(tmp_path, "steps:\n" + command("on_exit"))


def test_hooks_of_an_extended_plan(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text(HEAD + "on_exit:\n" + command("base") + "on_failure:\n" + command("page"))
    plan = load(tmp_path, "extends: base.yml\non_exit:\n" + command("own"))
    assert [(name, [step.id for step in steps]) for name, steps in plan.hooks.blocks()] == [
        ("on_failure", ["page"]), ("on_exit", ["own"]),
    ]  # fmt: skip


# ------------------------------------------------------------------ what they may remove

SAVED = """
name: p
steps:
  - {{id: save, uses: pg_dump, with: {{tables: [t], to: ./b}}}}
  - {{id: work, uses: sql, with: {{text: select 1}}}}
{block}:
  - {{id: tidy, {when} uses: sql, with: {{text: drop table t}}}}
rollback:
  - {{id: back, uses: sql, with: {{text: select 2}}}}
"""


@pytest.mark.parametrize("block", ["on_success", "on_failure", "on_exit"])
@pytest.mark.parametrize(
    ("when", "refused"),
    [
        ("", True),
        ("when: run.ok,", True),
        ("when: run.state == 'ok' and not save.failed,", True),
        ("when: save.skipped,", True),  # in no outcome of the steps, but after a Ctrl-C
        ("when: save.ok or not work.failed,", True),
        ("when: back.ok,", True),
        ("when: save.ok,", False),
        ("when: work.ok,", False),
        ("when: save.state == 'ok' and run.failed,", False),
        ("acknowledge: it is made again,", False),
    ],
)
def test_a_hook_removes_only_what_its_own_guard_protects(tmp_path: Path, block: str, when: str, refused: bool) -> None:
    text = SAVED.format(block=block, when=when)
    if refused:
        found = wrong(tmp_path, text)
        assert "PR1091" in found and (f"add `save.ok` to the `when:` of {block}.tidy" in found or "back" in when)
    else:
        assert prove(load(tmp_path, text))[-1].path == f"{block}.tidy"


def test_a_hook_removes_nothing_that_nothing_protects(tmp_path: Path) -> None:
    text = "steps:\n" + command("a") + "on_exit:\n  - {id: tidy, when: a.ok, uses: sql, with: {text: truncate t}}\n"
    assert "PR1091 truncate t: a hook may not remove what nothing in the plan protects" in wrong(tmp_path, text)
    inside = SAVED.format(block="on_exit", when="") + "protected: [t]\n"
    assert "PR0213" in wrong(tmp_path, inside)
    own = """
      steps: [{id: a, uses: sql, with: {text: select 1}}]
      on_exit:
        - {id: save, uses: pg_dump, with: {tables: [t], to: ./b}}
        - {id: tidy, %suses: sql, with: {text: drop table t}}
      """
    assert "PR1091" in wrong(tmp_path, own % "") and "add `save.ok`" in wrong(tmp_path, own % "")
    assert prove(load(tmp_path, own % "when: save.ok, "))


# ------------------------------------------------------------------ when they run

BLOCKS = "on_success:\n{0}on_failure:\n{0}on_exit:\n{0}".format(command("a"))


def test_each_end_has_its_blocks(tmp_path: Path) -> None:
    good = run(tmp_path, "name: p\nsteps:\n" + command("one") + command("two") + BLOCKS)
    assert (good.state, good.exit_code, states(good)) == ("ok", 0, {"on_success.a": "ok", "on_exit.a": "ok"})
    text = "name: p\nsteps:\n" + command("one") + command("two", BAD) + BLOCKS
    paused = run(tmp_path, text, until="one")
    assert (paused.state, paused.exit_code, states(paused)) == ("paused", 0, {"on_exit.a": "ok"})
    failed = run(tmp_path, text, resume=True)
    assert (failed.state, failed.exit_code) == ("failed", 1)
    assert states(failed) == {"on_failure.a": "ok", "on_exit.a": "ok"}
    again = run(tmp_path, text, resume=True)
    assert states(again) == {"on_failure.a": "ok", "on_exit.a": "ok"}, "the hooks of each attempt run"
    assert again.run == failed.run == paused.run
    declined = run(tmp_path, text, approve=lambda diff: False)
    assert (declined.state, declined.hooks) == ("declined", ())


def test_hooks_see_how_the_run_ended_and_its_steps(tmp_path: Path) -> None:
    words = "${run.state} ${run.failed} ${run.step} ${run.code} ${run.exit_code} ${run.mode} ${run.plan} ${run.id}"
    text = (
        "name: p\nsteps:\n"
        + command("one", "[echo, hello]")
        + command("two", BAD)
        + command("three", more="when: one.ok,")
        + command("four")
        + "on_failure:\n"
        + command("all", f'[echo, "{words}"]')
        + command("says", '[echo, "${run.error}; ${run.next}; ${steps.one.output}"]')
        + command("later", more="when: two.failed and four.skipped and three.ok and run.seconds >= 0,")
        + command("not", more="when: run.interrupted,")
        + command("own", more="when: says.ok,")
    )
    result = run(tmp_path, text.replace("id: not,", "id: never,"))
    assert states(result) == {
        "on_failure.all": "ok", "on_failure.says": "ok", "on_failure.later": "ok", "on_failure.never": "skipped",
        "on_failure.own": "ok",
    }  # fmt: skip
    said = {step.path: str(step.outputs.get("output", "")).strip() for step in result.hooks}
    assert said["on_failure.all"] == f"failed true two PR0901 1 apply p {result.run}"
    file = tmp_path / "plan.yml"
    assert said["on_failure.says"] == f"sh ended with exit code 3; planrun apply {file} --resume; hello"


def test_a_rollback_has_them_too_and_the_steps_of_the_plan_count_as_skipped(tmp_path: Path) -> None:
    hook = command("a", '[echo, "${run.mode}"]', more="when: back.ok and save.skipped,")
    plan = load(tmp_path, HEAD + "rollback:\n" + command("back") + "on_success:\n" + hook + "on_failure:\n" + hook)
    result = api.rollback(plan, env={**os.environ, "PLANRUN_STATE_DIR": str(tmp_path / "s")})
    assert (states(result), result.hooks[0].outputs["output"].strip()) == ({"on_success.a": "ok"}, "rollback")


def test_an_interruption_is_followed_by_hooks_and_a_second_one_ends_them(tmp_path: Path) -> None:
    slow = '[sh, -c, "sleep 30"]'
    text = "name: p\nsteps:\n" + command("save", slow) + command("more") + "on_failure:\n"
    text += command("first", more="when: save.failed and more.skipped and run.interrupted,") + command("slow", slow)
    text += command("third") + "on_exit:\n" + command("last")
    cancel = Cancel()

    def interrupt(event: Event) -> None:
        if isinstance(event, StepPlanned) and event.planned.path in ("save", "on_failure.slow"):
            cancel.cancel(Interrupted("interrupted by SIGINT", signal=2))

    result = run(tmp_path, text, cancel=cancel, on_event=interrupt)
    assert (result.state, result.exit_code) == ("interrupted", 130)
    assert states(result) == {"on_failure.first": "ok", "on_failure.slow": "failed"}
    assert [(one.about, one.message) for one in result.warnings] == [
        ("on_failure.slow", "interrupted by SIGINT"),
        ("hooks", "interrupted by SIGINT: on_exit did not run"),
    ]


def test_an_interruption_of_hooks_changes_nothing_of_a_good_run(tmp_path: Path) -> None:
    cancel = Cancel()

    def interrupt(event: Event) -> None:
        if isinstance(event, HooksBegan):
            cancel.cancel(Interrupted("interrupted by SIGINT", signal=2))

    text = "name: p\nsteps:\n" + command("one") + BLOCKS
    result = run(tmp_path, text, cancel=cancel, on_event=interrupt)
    assert (result.state, result.exit_code, result.error) == ("ok", 0, None)


def test_after_an_interruption_the_hooks_have_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.run import hooks

    monkeypatch.setattr(hooks, "AFTER_SIGNAL", 0.3)
    text = "name: p\nsteps:\n" + command("one", '[sh, -c, "sleep 30"]') + "on_exit:\n"
    text += command("slow", '[sh, -c, "sleep 30"]') + command("late")
    cancel = Cancel()

    def interrupt(event: Event) -> None:
        if isinstance(event, StepPlanned) and event.planned.path == "one":
            cancel.cancel(Interrupted("interrupted by SIGTERM", signal=15))

    result = run(tmp_path, text, cancel=cancel, on_event=interrupt)
    assert (result.exit_code, states(result)) == (143, {"on_exit.slow": "warned", "on_exit.late": "warned"})
    assert {one.code for one in result.warnings} == {"PR1090"}


def test_hooks_follow_a_lost_lock_but_do_not_touch_the_database(tmp_path: Path, db: str) -> None:
    """Somebody ends the connection of the run's lock: another run may begin, so this one stops at once."""
    end = (
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and"
        " database = (select oid from pg_database where datname = current_database())"
    )
    text = f"""
      name: p
      steps:
        - {{id: one, uses: sql, with: {{text: "{end}"}}}}
        - {{id: two, uses: sql, with: {{text: create table two ()}}}}
      on_failure:
        - {{id: tell, uses: write, with: {{to: ./told.txt, text: "${{run.state}}: ${{run.error}}"}}}}
        - {{id: note, uses: sql, with: {{text: create table noted ()}}}}
      """
    events: list[Event] = []
    with pytest.raises(PlanrunError, match="lock"):
        api.apply(load(tmp_path, text), env={"DATABASE_URL": db, **os.environ}, on_event=events.append)
    assert (tmp_path / "told.txt").read_text().startswith("failed: ")
    assert {one.outcome.path: one.outcome.state.value for one in events if isinstance(one, StepEnded)} == {
        "one": "ok", "on_failure.tell": "ok", "on_failure.note": "warned",
    }  # fmt: skip
    with psycopg.connect(db) as conn:
        assert conn.execute("select to_regclass('two'), to_regclass('noted')").fetchone() == (None, None)


# ------------------------------------------------------------------ the verdict

STEP = st.sampled_from(["ok", "bad", "skipped"])
HOOK = st.sampled_from(["ok", "bad", "skipped", "slow", "no program", "group", "no value"])
WORDS = {
    "ok": lambda name: command(name),
    "bad": lambda name: command(name, BAD),
    "skipped": lambda name: command(name, more="when: false,"),
    "slow": lambda name: command(name, '[sh, -c, "sleep 20"]', more="timeout: 0.05,"),
    "no program": lambda name: command(name, "[no-such-program-anywhere]"),
    "group": lambda name: f"  - id: {name}\n    steps:\n    - {{id: x, uses: command, with: {{argv: {BAD}}}}}\n",
    "no value": lambda name: command(name, '[echo, "it was: ${steps.s0.output}"]'),
}


@given(
    steps=st.lists(STEP, min_size=1, max_size=3),
    hooks=st.dictionaries(
        st.sampled_from(["on_success", "on_failure", "on_exit"]), st.lists(HOOK, min_size=1, max_size=3)
    ),
    until=st.booleans(),
)
@settings(max_examples=int(os.environ.get("PLANRUN_HOOKS", "8")))
def test_no_hook_changes_how_a_run_ends(
    tmp_path_factory: pytest.TempPathFactory, steps: Sequence[str], hooks: dict[str, Sequence[str]], until: bool
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    plain = "name: p\nsteps:\n" + "".join(WORDS[word](f"s{number}") for number, word in enumerate(steps))
    blocks = "".join(
        f"{block}:\n" + "".join(WORDS[word](f"h{number}") for number, word in enumerate(words))
        for block, words in hooks.items()
    )
    stop = {"until": "s0"} if until else {}
    without, with_hooks = run(folder, plain, **stop), run(folder, plain + blocks, **stop)

    def verdict(result: RunResult) -> tuple[Any, ...]:
        return result.state, result.exit_code, result.counts, [(s.path, s.state, s.message) for s in result.steps]

    assert verdict(with_hooks) == verdict(without)
    ran = {"ok": {"on_success", "on_exit"}, "failed": {"on_failure", "on_exit"}, "paused": {"on_exit"}}[without.state]
    expected = [(f"{block}.h{n}", word) for block in ("on_success", "on_failure", "on_exit") if block in ran
                for n, word in enumerate(hooks.get(block, ()))]  # fmt: skip
    found = {path: state for path, state in states(with_hooks).items() if not path.endswith(".x")}
    assert list(found) == [path for path, _ in expected], "each runs, whatever the ones before it did"
    fails = {path for path, word in expected if word not in ("ok", "skipped", "no value")}
    assert {path for path, state in found.items() if state == "warned"} == fails
    assert {one.about.removesuffix(".x") for one in with_hooks.warnings} == fails
    lines = [json.loads(line) for line in next((folder / "state").glob("*.jsonl")).read_text().splitlines()]
    ended = [one for one in lines if one["event"] == "run_ended"][-1]
    assert (ended["state"], ended["exit_code"]) == (without.state, without.exit_code)


def test_a_diff_and_a_rendering_say_when_they_would_run(tmp_path: Path, db: str) -> None:
    text = """
      name: p
      steps:
        - {id: one, uses: sql, with: {text: create table made (n int)}}
      on_failure:
        - {id: tell, uses: command, with: {argv: [echo, "${run.error}"]}}
        - {id: note, when: one.failed, uses: sql, with: {text: insert into made values (1)}}
        - {id: never, when: "false", uses: sql, with: {text: select 1}}
      on_exit:
        - {id: bye, uses: command, with: {argv: [echo, bye]}}
      """
    from runner.report import markdown, mermaid
    from runner.report import text as pages
    from runner.run.render import render_plan

    plan = load(tmp_path, text)
    result = api.diff(plan, env={"DATABASE_URL": db, **os.environ})
    assert (result.exit_code, result.counts) == (0, {"would run": 1})
    assert states(result) == {
        "on_failure.tell": "unknown until run", "on_failure.note": "unknown until run", "on_failure.never": "skipped",
        "on_exit.bye": "unknown until run",
    }  # fmt: skip
    page = pages.diff(result)
    assert (
        "  on_failure: would run if the run fails or is interrupted\n  on_failure.tell  command  [would run]\n" in page
    )
    assert (
        "  on_exit: would run when the run ends, however it ends\n  on_exit.bye  command  [would run]\n      $ echo bye"
        in page
    )
    assert "when one.failed: one.failed is unknown until run" in page
    assert "| on\\_exit.bye | command | would run when the run ends, however it ends |" in markdown.result(result)
    drawn = mermaid.graph(plan)
    assert 'subgraph on_exit["on_exit: when the run ends, however it ends"]' in drawn and "on_exit_bye" in drawn
    assert [one.path for one in render_plan(plan)][-1] == "on_exit.bye"
    with psycopg.connect(db) as conn:
        assert conn.execute("select to_regclass('made')").fetchone() == (None,)
