"""The walk and its drivers, with hands that write down what they are told. Real databases: tests/test_cases.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner import engine, guard, values
from runner.cancel import Cancel
from runner.engine import At
from runner.errors import Interrupted, Mark, PlanrunError, TargetError
from runner.events import ActionDone, Event, Retrying, StepEnded, StepPlanned
from runner.model import (
    UNKNOWN,
    Action,
    Check,
    Command,
    Note,
    Outcome,
    Plan,
    PlannedStep,
    Result,
    Retry,
    State,
    Step,
)

HERE = Mark("p.yml", 1, 1)


class EmptyReader:
    """A world in which nothing is looked up: these plans hold only commands."""

    start_time = datetime(2026, 1, 2, tzinfo=UTC)
    folder = root = Path("/")

    def file(self, path: str) -> str:
        return path

    def others(self, kind: str) -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nothing here looks at {name}")


Script = list[BaseException | Callable[[], None] | None]


class FakeExecutor:
    """Runs commands on paper: argv[0] is written down; `script` may raise for a name, attempt by attempt."""

    def __init__(self, **script: Script) -> None:
        self.ran: list[str] = []
        self.script = script
        self.lock = threading.Lock()

    def act(self, action: Action, at: At, cancel: Cancel) -> Result:
        if isinstance(action, Note):
            return {}
        assert isinstance(action, Command)
        with self.lock:
            self.ran.append(action.argv[0])
            waiting = self.script.get(action.argv[0], [])
            what = waiting.pop(0) if waiting else None
        if isinstance(what, BaseException):
            raise what
        if what is not None:
            what()
        cancel.check()
        return {"exit_code": 0, "output": action.argv[0]}


def no_sql(name: str, /, **values: Any) -> str:
    raise AssertionError("commands hold no SQL")


def step(name: str, when: str = "", **words: Any) -> Step:
    values_given = words.pop("values", {"argv": [name]})
    parsed = guard.parse(when, HERE) if when else None
    return Step(id=name, where=HERE, kind="command", values=values.parse(values_given), when=parsed, **words)


def group(name: str, *steps: Step, when: str = "", **words: Any) -> Step:
    parsed = guard.parse(when, HERE) if when else None
    return Step(id=name, where=HERE, steps=steps, when=parsed, **words)


def plan_of(*steps: Step) -> Plan:
    return Plan(name="p", file="p.yml", folder=Path("/"), root=Path("/"), digest="d", steps=steps)


def run(
    steps: Sequence[Step],
    executor: FakeExecutor,
    *,
    recorded: Mapping[str, Outcome] | None = None,
    done: Mapping[tuple[str, str], Result] | None = None,
    until: str = "",
    cancel: Cancel | None = None,
    emit: Callable[[Event], None] = lambda event: None,
) -> engine.Drive:
    planned_steps = engine.walk(plan_of(*steps), steps, EmptyReader(), no_sql, recorded)
    answer = engine.apply_answer(executor, emit, cancel or Cancel(), done)
    return engine.drive(planned_steps, answer, emit, until=until)


def states(found: engine.Drive) -> dict[str, str]:
    return {path: outcome.state.value for path, outcome in found.outcomes.items()}


BROKEN = TargetError("broken")


def test_a_step_without_a_guard_needs_all_before_it() -> None:
    found = run([step("a"), step("b"), step("c")], FakeExecutor(b=[BROKEN]))
    assert states(found) == {"a": "ok", "b": "failed", "c": "skipped"}
    assert found.has_failed and found.error is BROKEN


def test_cleanup_is_skipped_when_prepare_failed_and_swap_with_it() -> None:
    steps = [step("prepare"), step("cleanup", "prepare.ok", on_error="warn"), step("swap", "prepare.ok")]
    executor = FakeExecutor(prepare=[BROKEN])
    assert states(run(steps, executor)) == {"prepare": "failed", "cleanup": "skipped", "swap": "skipped"}
    assert executor.ran == ["prepare"]


def test_a_failed_cleanup_only_warns_and_the_swap_goes_on() -> None:
    steps = [step("prepare"), step("cleanup", "prepare.ok", on_error="warn"), step("swap")]
    found = run(steps, FakeExecutor(cleanup=[BROKEN]))
    assert states(found) == {"prepare": "ok", "cleanup": "warned", "swap": "ok"}
    assert not found.has_failed


def test_a_guard_may_ask_for_failure() -> None:
    found = run([step("a"), step("tidy", "a.failed"), step("never", "a.ok")], FakeExecutor(a=[BROKEN]))
    assert states(found) == {"a": "failed", "tidy": "ok", "never": "skipped"}


def test_skipped_is_not_ok() -> None:
    found = run([step("a", "false"), step("b", "a.ok"), step("c", "a.skipped"), step("d")], FakeExecutor())
    assert states(found) == {"a": "skipped", "b": "skipped", "c": "ok", "d": "skipped"}


def test_a_group_is_as_good_as_its_worst_step() -> None:
    steps = [group("prepare", step("load"), step("check")), step("swap", "prepare.ok")]
    assert states(run(steps, FakeExecutor(check=[BROKEN]))) == {
        "prepare.load": "ok",
        "prepare.check": "failed",
        "prepare": "failed",
        "swap": "skipped",
    }


def test_a_group_that_is_left_out_leaves_out_its_steps() -> None:
    executor = FakeExecutor()
    assert states(run([group("g", step("a"), when="false")], executor)) == {"g": "skipped"}
    assert executor.ran == []


def test_steps_of_a_group_see_what_came_before_the_group() -> None:
    steps = [step("a"), group("g", step("b", "a.ok"))]
    assert states(run(steps, FakeExecutor())) == {"a": "ok", "g.b": "ok", "g": "ok"}


def test_values_of_earlier_steps_arrive() -> None:
    executor = FakeExecutor()
    run([step("a"), step("b", values={"argv": ["${steps.a.output}x", "code ${steps.a.exit_code}"]})], executor)
    assert executor.ran == ["a", "ax"]


def test_a_template_sees_only_its_inputs_and_gives_its_outputs() -> None:
    inner = step("say", values={"argv": ["${inputs.word}"]})
    words: dict[str, Any] = {"inputs": {"word": "hello"}, "outputs": values.parse({"said": "${steps.say.output}"})}
    steps = [group("t", inner, **words), step("after", values={"argv": ["${steps.t.said}!"]})]
    executor = FakeExecutor()
    found = run(steps, executor)
    assert executor.ran == ["hello", "hello!"]
    assert found.outcomes["t"].outputs == {"said": "hello"}


def test_outputs_of_a_skipped_step_are_none() -> None:
    inner = [step("say", "false")]
    t = group("t", *inner, inputs={}, outputs=values.parse({"said": "${steps.say.output}"}))
    assert run([t], FakeExecutor()).outcomes["t"].outputs == {"said": None}


# ------------------------------------------------------------------ for_each, retry, timeout


def test_for_each_runs_every_item_with_at_most_jobs_at_once() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def busy() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    names = [f"i{n}" for n in range(6)]
    each = step("each", values={"argv": ["${item}"]}, for_each=names, jobs=3)
    script: dict[str, Script] = {name: [busy] for name in names}
    executor = FakeExecutor(**script)
    found = run([each], executor)
    assert sorted(executor.ran) == names and 2 <= most[0] <= 3
    assert [one["output"] for one in found.outcomes["each"].outputs["results"]] == names


def test_one_failing_item_stops_the_others_and_is_the_error() -> None:
    each = step("each", values={"argv": ["${item}"]}, for_each=["a", "b", "c", "d"], jobs=1)
    executor = FakeExecutor(b=[BROKEN])
    found = run([each], executor)
    assert found.error is BROKEN and executor.ran == ["a", "b"]


def test_for_each_of_nothing_is_fine() -> None:
    """It says so: nobody is left to believe that something was done."""
    found = run([step("each", for_each=[]), group("g", step("do"), for_each=[])], FakeExecutor())
    assert states(found) == {"each": "ok", "g": "ok"}
    assert {one.message for one in found.outcomes.values()} == {"the list of for_each is empty: nothing to do"}


def test_a_group_is_repeated_for_each_item() -> None:
    executor = FakeExecutor()
    inner = step("do", values={"argv": ["${item.name}"]})
    found = run([group("g", inner, for_each=[{"name": "x"}, {"name": "y"}])], executor)
    assert executor.ran == ["x", "y"]
    assert states(found) == {"g[0].do": "ok", "g[1].do": "ok", "g": "ok"}


def test_retry_covers_only_what_it_names() -> None:
    told: list[Event] = []
    locked: Script = [TargetError("locked", category="lock"), TargetError("locked", category="lock"), None]
    retry = Retry(attempts=3, delay=0.001)
    found = run([step("a", retry=retry)], FakeExecutor(a=list(locked)), emit=told.append)
    assert (states(found), found.outcomes["a"].attempts) == ({"a": "ok"}, 3)
    assert len([event for event in told if isinstance(event, Retrying)]) == 2
    assert states(run([step("a", retry=retry)], FakeExecutor(a=[BROKEN, None]))) == {"a": "failed"}
    assert states(run([step("a", retry=Retry(attempts=2, delay=0))], FakeExecutor(a=list(locked)))) == {"a": "failed"}


def test_a_step_that_takes_too_long_is_cancelled_and_says_so() -> None:
    found = run([step("a", timeout=0.05)], FakeExecutor(a=[lambda: time.sleep(0.2)]))
    assert states(found) == {"a": "failed"}
    assert "timed out after 0.05 s" in found.outcomes["a"].message


# ------------------------------------------------------------------ telling, stopping, going on


def test_a_turn_is_told_before_it_is_acted() -> None:
    executor = FakeExecutor()
    ran_when_told: list[tuple[str, list[str]]] = []
    run([step("a")], executor, emit=lambda event: ran_when_told.append((type(event).__name__, list(executor.ran))))
    assert ran_when_told == [("StepPlanned", []), ("ActionDone", ["a"]), ("StepEnded", ["a"])]


def test_an_interruption_stops_the_walk_even_where_a_guard_waits_for_failure() -> None:
    cancel = Cancel()
    executor = FakeExecutor(a=[lambda: cancel.cancel(Interrupted("stop", signal=2))])
    found = run([step("a"), step("tidy", "a.failed")], executor, cancel=cancel)
    assert states(found) == {"a": "failed"} and isinstance(found.error, Interrupted)


def test_until_stops_after_a_step_or_a_whole_group() -> None:
    steps = [group("prepare", step("a"), step("b")), step("swap")]
    found = run(steps, FakeExecutor(), until="prepare")
    assert states(found) == {"prepare.a": "ok", "prepare.b": "ok", "prepare": "ok"} and found.paused
    failed = run(steps, FakeExecutor(a=[BROKEN]), until="prepare")
    assert failed.has_failed and not failed.paused


def test_nothing_more_is_done_when_what_an_earlier_attempt_made_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof of the backup is still recorded as ok: its guard alone would let `drop` run without a backup."""
    monkeypatch.setattr(EmptyReader, "sessions", lambda self, folder: (), raising=False)
    recorded = {
        "save": Outcome(path="save", state=State.OK, outputs={"session": "/b/backup_1"}, recorded=True),
        "prove": Outcome(path="prove", state=State.OK, recorded=True),
    }
    save = Step(id="save", where=HERE, kind="pg_dump", values={"to": "/b"})
    steps = [save, step("prove", "save.ok"), step("drop", "prove.ok"), group("more", step("other"), when="prove.ok")]
    executor = FakeExecutor()
    done = run(steps, executor, recorded=recorded)
    assert executor.ran == []
    assert states(done) == {
        "save": "failed", "prove": "ok", "drop": "skipped", "more.other": "skipped", "more": "skipped",
    }  # fmt: skip
    assert done.outcomes["drop"].message == "the objects that save made are gone"


def test_resume_takes_what_is_recorded_and_does_the_rest() -> None:
    recorded = {
        "a": Outcome(path="a", state=State.OK, outputs={"output": "from before", "exit_code": 0}, recorded=True)
    }
    executor = FakeExecutor()
    steps = [step("a"), step("b", values={"argv": ["${steps.a.output}"]})]
    assert states(run(steps, executor, recorded=recorded)) == {"a": "ok", "b": "ok"}
    assert executor.ran == ["from before"]


def test_resume_inside_a_step_skips_the_actions_that_are_done() -> None:
    told: list[Event] = []
    each = step("each", values={"argv": ["${item}"]}, for_each=["a", "b", "a"], jobs=1)
    run([each], FakeExecutor(b=[BROKEN]), emit=told.append)
    done = {(e.path, e.key): e.result for e in told if isinstance(e, ActionDone)}
    assert len(done) == 1
    executor = FakeExecutor()
    found = run([each], executor, done=done)
    assert executor.ran == ["b", "a"] and found.outcomes["each"].outputs["count"] == 3


def test_a_retry_does_not_repeat_what_is_done() -> None:
    each = step("each", values={"argv": ["${item}"]}, for_each=["a", "b"], jobs=1, retry=Retry(attempts=2, delay=0))
    executor = FakeExecutor(b=[TargetError("locked", category="lock"), None])
    assert states(run([each], executor)) == {"each": "ok"}
    assert executor.ran == ["a", "b", "b"]


def test_a_retry_after_the_journal_was_lost_does_not_repeat_the_action() -> None:
    lost: list[BaseException] = [TargetError("connection lost", category="connection")]

    def emit(event: Event) -> None:
        if isinstance(event, ActionDone) and lost:
            raise lost.pop()

    executor = FakeExecutor()
    assert states(run([step("a", retry=Retry(attempts=2, delay=0))], executor, emit=emit)) == {"a": "ok"}
    assert executor.ran == ["a"]


def test_the_items_of_a_list_that_changed_keep_their_keys() -> None:
    told: list[Event] = []
    run([step("e", values={"argv": ["${item}"]}, for_each=["a", "b"])], FakeExecutor(b=[BROKEN]), emit=told.append)
    done = {(e.path, e.key): e.result for e in told if isinstance(e, ActionDone)}
    executor = FakeExecutor()
    run([step("e", values={"argv": ["${item}"]}, for_each=["a", "b", "c"])], executor, done=done)
    assert executor.ran == ["b", "c"]


class Looking(FakeExecutor):
    """Hands for any action: its text or argv is written down."""

    def act(self, action: Action, at: At, cancel: Cancel) -> Result:
        name = action.argv[0] if isinstance(action, Command) else getattr(action, "text", "")
        return super().act(Command(argv=(name,)), at, cancel)


def act_on(actions: Sequence[Action], executor: FakeExecutor, done: Mapping[tuple[str, str], Result]) -> list[str]:
    told: list[Event] = []
    planned = PlannedStep(step=step("s"), path="s", actions=tuple(actions))
    outcome = engine.apply_answer(executor, told.append, Cancel(), done)(planned)
    assert outcome.state in (State.OK, State.FAILED)
    return executor.ran


def test_what_only_reads_is_asked_again_before_what_is_not_done_yet() -> None:
    check, first, second = Check(text="clear?"), Command(argv=("first",)), Command(argv=("second",))
    actions = (check, first, Check(text="still?"), second)
    keys = {("s", key): {"exit_code": 0} for key, _ in engine.with_keys(actions)}
    none_done = {key: result for key, result in keys.items() if key[1] == engine.with_keys(actions)[0][0]}
    assert act_on(actions, Looking(), none_done) == ["clear?", "first", "still?", "second"]
    all_but_last = {("s", key): {"exit_code": 0} for key, _ in engine.with_keys(actions)[:3]}
    assert act_on(actions, Looking(), all_but_last) == ["still?", "second"]
    assert act_on(actions, Looking(), keys) == []


def test_a_group_that_only_warns_does_not_fail_the_run() -> None:
    steps = [group("g", step("a"), on_error="warn"), step("b")]
    found = run(steps, FakeExecutor(a=[BROKEN]))
    assert states(found) == {"g.a": "failed", "g": "warned", "b": "ok"}
    assert not found.has_failed and found.error is None


def test_an_interruption_is_not_softened_by_a_group_that_only_warns() -> None:
    found = run([group("g", step("a"), on_error="warn")], FakeExecutor(a=[Interrupted("stop", signal=2)]))
    assert found.has_failed and isinstance(found.error, Interrupted)


def test_an_error_nobody_expected_is_not_swallowed() -> None:
    each = step("each", values={"argv": ["${item}"]}, for_each=["a", "b"], jobs=2)
    with pytest.raises(ZeroDivisionError):
        run([each], FakeExecutor(a=[ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError):
        run([step("a")], FakeExecutor(a=[ZeroDivisionError()]))


# ------------------------------------------------------------------ the diff


def diff(*steps: Step) -> engine.Drive:
    planned_steps = engine.walk(plan_of(*steps), steps, EmptyReader(), no_sql)
    return engine.drive(planned_steps, engine.diff_answer(EmptyReader()), lambda event: None)


def test_a_diff_takes_steps_that_would_run_as_succeeding_and_says_what_is_unknown() -> None:
    found = diff(
        step("a"),
        step("b", "a.ok"),
        step("c", "a.failed"),
        step("d", "a.exit_code == 0"),
        step("e", "b.ok", values={"argv": ["${steps.a.output}"]}),
        step("f", "d.ok"),
        step("g", "c.skipped"),
    )
    assert states(found) == {
        "a": "would run",
        "b": "would run",
        "c": "skipped",
        "d": "unknown until run",
        "e": "would run",
        "f": "unknown until run",
        "g": "would run",
    }
    assert found.outcomes["e"].message.endswith("details are unknown until run; the step needs ${steps.a.output}")
    assert found.something_to_do and not found.has_failed


def test_the_turns_of_a_diff_hold_the_actions_of_the_apply() -> None:
    steps = [step("a"), group("g", step("b"))]
    told: list[Event] = []
    run(steps, FakeExecutor(), emit=told.append)
    acted = {e.planned.path: e.planned.actions for e in told if isinstance(e, StepPlanned)}
    assert {path: planned.actions for path, planned in diff(*steps).planned_steps.items()} == acted


def test_every_outcome_is_told_once() -> None:
    told: list[Event] = []
    run([step("a"), group("g", step("b"))], FakeExecutor(), emit=told.append)
    assert [e.outcome.path for e in told if isinstance(e, StepEnded)] == ["a", "g.b", "g"]


def test_notes_alone_are_nothing_to_do() -> None:
    assert not engine.acts(Note(text="x")) and not engine.changes(Note(text="x"))


def test_unknown_outputs_stay_unknown_in_the_view() -> None:
    seen = engine.view(Outcome(path="a", state=State.WOULD), ("rows",))
    assert seen["ok"] is True and seen["rows"] is UNKNOWN
    seen = engine.view(Outcome(path="a", state=State.UNKNOWN), ("rows",))
    assert seen["ok"] is UNKNOWN and seen["rows"] is UNKNOWN


def test_a_declined_question_is_a_failure_of_its_step() -> None:
    found = run([step("a"), step("b")], FakeExecutor(a=[PlanrunError("declined")]))
    assert states(found) == {"a": "failed", "b": "skipped"}
