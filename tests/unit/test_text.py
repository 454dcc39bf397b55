"""Results and events as plain text: complete, one line an event, nothing that drives a terminal."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from runner.errors import PlanrunError, TargetError
from runner.events import (
    ActionDone,
    ActionProgress,
    AtWork,
    Committing,
    Event,
    HooksBegan,
    PhaseProgress,
    Progress,
    Resuming,
    Retrying,
    RunBegan,
    RunEnded,
    ServerProgress,
    StepEnded,
    StepPlanned,
    WaitEnded,
    Waiting,
    Warned,
)
from runner.model import UNKNOWN, Check, Confirm, Note, Outcome, Query, Sql, State
from runner.report import text
from tests.made import HOSTILE, clean, end_step, group, planned_step, result

BEGAN = RunBegan(
    run="r1", plan="nightly", file="p.yml", mode="apply", digest="d" * 64, total=2,
    host="h", pid=1, user="u", version="0"
)  # fmt: skip
OK = Outcome(path="g.a", state=State.OK, outputs={"tables": [1, 2], "count": 2, "rows": 1200}, seconds=0.25)
DUMP = ActionProgress(
    path="g.a",
    key="k",
    what="public.users",
    phases=(PhaseProgress(phase="writing", done=10, total=20, rate=1.5),),
    share=0.5,
    left=71.5,
)
EVENTS: dict[type, Event] = {
    RunBegan: BEGAN,
    Resuming: Resuming(
        run="r1",
        state="cut off",
        last="2025-07-20T12:27:01.500+00:00",
        who="pid 7 on h",
        done=("a", "b"),
        begun={"c": "cut off at work; nothing of it was committed; it is done again"},
    ),
    StepPlanned: StepPlanned(planned=planned_step("g.a", Sql(text="select 1"), because="when x.ok: x.ok is true")),
    Committing: Committing(path="g.a", key="k", connection="", xid="7", result={}),
    ActionDone: ActionDone(path="g.a", key="k", result={"count": 1}),
    Progress: Progress(path="g.a", what="public.users", done=1, total=2, unit="tables"),
    ActionProgress: DUMP,
    ServerProgress: ServerProgress(connection="", lines=("CREATE INDEX on t, 45 %",)),
    AtWork: AtWork(path="g.a", uses="pg_dump", seconds=72, progress=(DUMP,), server=("ANALYZE on t",), waits="waits"),
    Retrying: Retrying(path="g.a", attempt=1, of=3, delay=1.5, message="lock timeout"),
    Waiting: Waiting(connection="source", message="waits for ACCESS SHARE on public.t; blocked by: pid 7"),
    WaitEnded: WaitEnded(connection="source", seconds=2.5),
    StepEnded: StepEnded(outcome=OK),
    HooksBegan: HooksBegan(
        mode="apply", state="failed", exit_code=1, seconds=1.0, step="a", error="why", blocks=("on_failure", "on_exit")
    ),
    Warned: Warned(about="on_exit.tell", message="curl ended with exit code 7", hint="do this", code="PR0901"),
    RunEnded: RunEnded(run="r1", state="ok", exit_code=0, seconds=1.0),
}


def test_a_diff_says_every_step_with_guard_actions_state_and_counts() -> None:
    shown = text.diff(
        result(
            end_step(planned_step("g.a", Sql(text="drop table a"), because="when x.ok: x.ok is true")),
            end_step(planned_step("g.b"), State.SKIPPED, message="when x.failed: x.ok"),
            end_step(group("g")),
            end_step(
                planned_step("c", Check(text="select 1")), State.FAILED, message="check failed: 1; 2", hint="move them"
            ),
        )
    )
    assert shown == (
        "Plan nightly: what apply would do\n\n"
        "  g  group  [would run]\n"
        "  g.a  sql  [would run]\n      when x.ok: x.ok is true\n      # drop table a\n"
        "  g.b  sql  [skipped]\n      # when x.failed: x.ok\n"
        "  c  sql  [failed]\n      # check: select 1\n      ! check failed: 1; 2\n"
        "        hint: move them\n\n"
        "2 would run, 1 failed, 1 skipped.\n"
        "SQL, checks and privilege queries: -v\n"
    )


def test_a_group_stands_before_what_is_in_it_also_in_rounds() -> None:
    steps = [end_step(planned_step(path)) for path in ("g[0].a", "g[1].a")] + [
        end_step(group("g")),
        end_step(planned_step("ga")),
    ]
    assert [step.path for step in text.groups_first(steps)] == ["g", "g[0].a", "g[1].a", "ga"]


def test_what_a_step_before_changes_is_said_to_be_uncertain() -> None:
    shown = "\n".join(
        text.step_lines(end_step(planned_step("a", Query(text="select 1"), stale=True), outputs={"rows": UNKNOWN}))
    )
    assert "earlier steps change the database" in shown
    assert "earlier steps" not in "\n".join(
        text.step_lines(end_step(planned_step("a", Sql(text="select 1"), stale=True)))
    )


def test_an_error_before_the_first_step_is_said() -> None:
    assert "error: no server" in text.diff(result(error=PlanrunError("no server")))
    assert "nothing to do." in text.diff(result())


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"tables": [1, 2, 3], "count": 3, "rows": 6020, "bytes": 768000}, "3 tables, 6,020 rows, 750 kB"),
        ({"count": 1}, "count 1"),
        ({"left_out": ["a"], "accepted": True, "files": 3, "row": {"a": 1}}, "1 left out"),
        ({"rows": UNKNOWN, "session": "/b/s", "output": "a\nb\n", "none": None}, "session /b/s"),
        ({"output": "\x1b[31m"}, r"output \x1b[31m"),
        ({}, ""),
    ],
)
def test_the_outputs_that_fit_in_a_line(outputs: dict[str, Any], said: str) -> None:
    assert text.outputs_text(outputs) == said


def test_a_summary_names_what_failed_and_what_to_type() -> None:
    steps = (
        end_step(planned_step("a"), State.OK),
        end_step(planned_step("b"), State.FAILED, message="one\n    two", hint="do this"),
        end_step(planned_step("c"), State.WARNED, message="odd"),
    )
    shown = text.summary(result(*steps, state="failed", error=TargetError("one"), next="planrun apply p.yml --resume"))
    assert shown == (
        "b: one\n    two\n  hint: do this\nc: odd\n"
        "nightly: failed in 1.5 s (run 20250720T122655Z-3f9a): 1 ok, 1 warned, 1 failed.\n"
        "next: planrun apply p.yml --resume\n"
    )
    assert "nothing was done" in text.summary(result(state="declined"))


def test_every_event_is_told_in_a_line_or_not_at_all() -> None:
    assert set(EVENTS) == set(get_args(Event))
    said = {kind.__name__: text.event_line(event) for kind, event in EVENTS.items()}
    assert [name for name, line in said.items() if line] == [
        "RunBegan", "Resuming", "StepPlanned", "Retrying", "Waiting", "StepEnded", "HooksBegan", "Warned",
    ]  # fmt: skip
    assert said["Resuming"] == (
        "resuming run r1: cut off, last record 2025-07-20 12:27:01 UTC (pid 7 on h)\n"
        "  done before, not repeated: a, b\n"
        "  c: cut off at work; nothing of it was committed; it is done again"
    )
    assert said["Waiting"] == "connection source waits for ACCESS SHARE on public.t; blocked by: pid 7"
    assert "nightly" in said["RunBegan"] and "x.ok is true" in said["StepPlanned"]
    assert "lock timeout" in said["Retrying"]
    assert said["HooksBegan"] == "the run failed; on_failure and on_exit follow"
    assert said["Warned"] == "warning: on_exit.tell: PR0901 curl ended with exit code 7\n  hint: do this"
    assert said["StepEnded"] == "g.a: ok, 2 tables, 1,200 rows, in 250 ms"
    recorded = Outcome(path="a", state=State.OK, recorded=True)
    assert "earlier attempt" in text.event_line(StepEnded(outcome=recorded))
    line = text.event_line(Progress(path="a", what="said by a program\r\n", done=0, total=0, unit="line"))
    assert line == "a| said by a program"
    assert text.event_line(StepPlanned(planned=planned_step("a", settled=OK))) == ""


def test_nothing_is_cut_off() -> None:
    long = "x" * 5000
    assert long in text.event_line(StepEnded(outcome=Outcome(path="a", state=State.FAILED, message=long)))
    assert long in text.summary(result(end_step(planned_step("a"), State.FAILED, message=long), state="failed"))


def test_hostile_names_stay_text_on_one_line() -> None:
    at = planned_step(
        "a", Note(text=HOSTILE), Sql(text=f"select 1 -- {HOSTILE}"), Confirm(message=HOSTILE), because=HOSTILE
    )
    steps = (
        end_step(at, State.FAILED, message=HOSTILE.replace("\n", " "), hint=HOSTILE, outputs={"name": HOSTILE}),
        end_step(planned_step("b"), State.SKIPPED, message=HOSTILE),
    )
    error = PlanrunError(HOSTILE)
    for shown in (text.diff(result(*steps, error=error)), text.summary(result(*steps)), text.diff(result(error=error))):
        clean(shown)
    for state in ("ok", "declined", "refused"):
        clean(text.summary(result(state=state, plan=HOSTILE)))
    clean(text.diff(result(plan=HOSTILE)))
    for event in (
        StepEnded(outcome=Outcome(path="a", state=State.FAILED, message=HOSTILE, outputs={"name": HOSTILE})),
        Retrying(path="a", attempt=1, of=2, delay=1, message=HOSTILE),
        Waiting(connection=HOSTILE, message=HOSTILE),
        Resuming(run="r1", state="failed", last="", who=HOSTILE, done=(), begun={}),
        Progress(path="a", what=HOSTILE, done=0, total=0, unit="line"),
        StepPlanned(planned=planned_step("a", because=HOSTILE)),
    ):
        assert "\n" not in clean(text.event_line(event))


def test_a_resume_says_first_which_database_it_is_about() -> None:
    more: Any = {"last": "", "who": "pid 1 on h", "done": (), "begun": {}}
    event = Resuming(run="r1", state="failed", databases=("target: prod",), **more)
    assert text.event_line(event).splitlines()[:2] == ["target: prod", "resuming run r1: failed (pid 1 on h)"]
