"""What a run did is the same from its events and from its journal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from runner.errors import Mark
from runner.events import Event, RunBegan, RunEnded, StepEnded, StepPlanned
from runner.journal.history import fold
from runner.journal.records import record_of
from runner.model import Outcome, PlannedStep, State, Step
from runner.monitoring.measures import RUNNING, RunMeasures, RunWatch, StepMeasures, of_runs

AT = 1_753_014_415.0


def began(mode: str = "apply", run: str = "r1", started: str = "2025-07-20T12:26:55+00:00") -> RunBegan:
    return RunBegan(
        run=run, plan="nightly", file="p.yml", mode=mode, digest="d", total=1, host="h", pid=1, user="u", version="1",
        started=started,
    )  # fmt: skip


def planned(path: str, kind: str) -> StepPlanned:
    step = Step(id=path.rpartition(".")[2], where=Mark("p.yml", 1, 1), kind=kind)
    return StepPlanned(planned=PlannedStep(step=step, path=path))


def ended(path: str, outputs: Mapping[str, Any], state: State = State.OK, seconds: float = 2.0) -> StepEnded:
    return StepEnded(outcome=Outcome(path=path, state=state, outputs=outputs, seconds=seconds))


def run_ended(state: str = "ok", exit_code: int = 0, run: str = "r1") -> RunEnded:
    return RunEnded(run=run, state=state, exit_code=exit_code, seconds=9.0)


RUN: list[Event] = [
    began(),
    planned("backup.find", "find_tables"),
    ended("backup.find", {"rows": 99, "bytes": 99, "tables": []}),
    planned("backup.dump", "pg_dump"),
    ended("backup.dump", {"rows": 10, "bytes": 4096, "count": 1}),
    ended("backup", {"rows": 10, "bytes": 4096}),
    planned("swap", "swap_tables"),
    ended("swap", {"locked_ms": 12.5, "count": 3}),
    run_ended(),
]
MEASURED = {
    "backup.find": StepMeasures(state="ok", seconds=2.0),
    "backup.dump": StepMeasures(state="ok", seconds=2.0, rows=10, bytes=4096),
    "swap": StepMeasures(state="ok", seconds=2.0, locked=0.0125),
}


def watch(events: list[Event]) -> tuple[RunMeasures | None, list[bool]]:
    seen = RunWatch()
    told = [seen.event(event, AT + number) for number, event in enumerate(events)]
    return seen.found, told


def test_rows_that_a_step_only_counts_and_those_of_a_group_are_not_added() -> None:
    found, told = watch(RUN)
    assert found is not None and found.steps == MEASURED
    assert (found.total("rows"), found.total("bytes"), found.total("locked")) == (10, 4096, 0.0125)
    assert (found.state, found.exit_code, found.started, found.ended) == ("ok", 0, AT, AT + 8)
    assert [number for number, one in enumerate(told) if one] == [0, 8], "it is written at the beginning and at the end"


def test_the_journal_says_the_same_as_the_events() -> None:
    runs = fold(record_of("r1", event) for event in RUN)
    found, _ = watch(RUN)
    from_journal = of_runs(runs, "apply")
    assert found is not None and from_journal is not None
    assert from_journal.steps == found.steps
    assert (from_journal.state, from_journal.exit_code, from_journal.started) == ("ok", 0, AT)
    assert from_journal.counts == {"ok": 1} and from_journal.success == from_journal.ended


def test_the_diff_before_a_run_is_no_run_and_a_resume_goes_on_with_it() -> None:
    diff: list[Event] = [began("diff", started=""), planned("a", "pg_dump"), ended("a", {"rows": 5}), run_ended()]
    assert watch(diff) == (None, [False] * 4)
    found, _ = watch([*diff, began("resume")])
    assert found == RunMeasures(mode="apply", state=RUNNING, started=AT)
    found, _ = watch([*diff, began(started="soon")])
    assert found is not None and found.started == AT + 4, "a time that is none is that of the event"


def test_items_of_for_each_are_added_up() -> None:
    each: list[Event] = [began()]
    for number, state in ((0, State.OK), (1, State.FAILED), (2, State.OK)):
        path = f"all[{number}].dump"
        each += [planned(path, "pg_dump"), ended(path, {"rows": 5, "bytes": 7}, state)]
    together: list[Event] = [planned("many", "pg_dump"), ended("many", {"results": [{"rows": 1}, {"rows": 2}, None]})]
    found, _ = watch([*each, *together])
    assert found is not None and found.steps is not None
    assert found.steps["all.dump"] == StepMeasures(state="failed", seconds=6.0, rows=15, bytes=21)
    assert found.steps["many"].rows == 3


def test_outputs_that_are_no_numbers_count_nothing() -> None:
    found, _ = watch([began(), planned("a", "pg_dump"), ended("a", {"rows": "many", "bytes": True})])
    assert found is not None and found.steps == {"a": StepMeasures(state="ok", seconds=2.0)}


def test_of_several_runs_the_newest_of_the_mode_counts_and_the_newest_success_is_kept() -> None:
    events: list[tuple[str, Event]] = [
        ("r1", began()), ("r1", run_ended()),
        ("r2", began(run="r2")), ("r2", run_ended("failed", 4, "r2")),
        ("r3", began("rollback", "r3")), ("r3", run_ended("ok", 0, "r3")),
        ("r4", began(run="r4")), ("r4", run_ended("declined", 1, "r4")),
    ]  # fmt: skip
    runs = fold(record_of(run, event) for run, event in events)
    found = of_runs(runs, "apply")
    assert found is not None and (found.state, found.exit_code) == ("failed", 4)
    assert found.counts == {"ok": 1, "failed": 1}, "a declined run has done nothing"
    assert found.success == (runs[0].ended or datetime.now(UTC)).timestamp()
    assert of_runs(runs, "abort") is None
    brief = of_runs(fold((record_of(run, event) for run, event in events), brief=True), "apply")
    assert brief is not None and brief.steps is None, "forgotten is not zero"
