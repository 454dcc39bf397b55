"""The metrics of planrun, and the samples that a plan has of them. Pure.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters, times as
`_timestamp_seconds`. A label has few values: plans, steps and states, never a run or a session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runner.monitoring.measures import REFUSED, RUNNING, STATES, SUCCESS, RunMeasures
from runner.monitoring.sessions import SessionMeasures
from runner.version import __version__


class Family(NamedTuple):
    """One metric. kind: gauge or counter. labels: those beside plan, database and, for one of a run, mode."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


RUN_FAMILIES: Mapping[str, Family] = {
    "planrun_last_run_start_timestamp_seconds": Family("gauge", "When the newest run of the plan began."),
    "planrun_last_run_end_timestamp_seconds": Family("gauge", "When the newest run of the plan that ended did so."),
    "planrun_last_run_success_timestamp_seconds": Family("gauge", "When the newest good run of the plan ended."),
    "planrun_last_run_duration_seconds": Family("gauge", "How long the newest run of the plan that ended took."),
    "planrun_last_run_exit_code": Family("gauge", "The exit code of the newest run of the plan that ended."),
    "planrun_last_run_state": Family("gauge", "1 for the state of the newest run of the plan, else 0.", ("state",)),
    "planrun_last_run_rows": Family("gauge", "Rows that the newest run dumped, restored or loaded."),
    "planrun_last_run_bytes": Family("gauge", "Bytes that the newest run dumped or loaded, as they are on disk."),
    "planrun_last_run_locked_seconds": Family("gauge", "How long the newest run locked live tables to swap them."),
    "planrun_last_run_steps": Family("gauge", "Steps of the newest run by how they ended.", ("state",)),
    "planrun_last_run_step_duration_seconds": Family("gauge", "How long a step of the newest run took.", ("step",)),
    "planrun_last_run_step_rows": Family("gauge", "Rows that a step of the newest run moved.", ("step",)),
    "planrun_last_run_step_bytes": Family("gauge", "Bytes that a step of the newest run moved.", ("step",)),
    "planrun_runs_total": Family("counter", "Runs of the plan by how they ended.", ("state",)),
}
PLAN_FAMILIES: Mapping[str, Family] = {
    "planrun_info": Family("gauge", "The file of the plan, and the planrun that wrote this.", ("file", "version")),
    "planrun_sessions": Family("gauge", "Backup sessions of the plan by state.", ("state",)),
    "planrun_sessions_size_bytes": Family("gauge", "The size of all backup sessions of the plan."),
    "planrun_newest_good_session_timestamp_seconds": Family(
        "gauge", "When the newest complete backup session of the plan was taken; its age is time() less this."
    ),
    "planrun_newest_good_session_size_bytes": Family("gauge", "The size of the newest complete backup session."),
    "planrun_newest_good_session_rows": Family("gauge", "The rows in the newest complete backup session."),
    "planrun_newest_good_session_verified_level": Family(
        "gauge", "The highest level that the newest complete backup session was verified at; 0 for none."
    ),
    "planrun_newest_verified_session_timestamp_seconds": Family(
        "gauge", "When the newest backup session was taken that was verified at this level or higher.", ("level",)
    ),
}
FAMILIES = {**RUN_FAMILIES, **PLAN_FAMILIES}


class Sample(NamedTuple):
    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The plan of samples. file: its absolute path, which tells plans of one name apart. database: its name, "" if only
    a connection could tell."""

    plan: str
    file: str
    database: str = ""


def info(owner: Owner) -> Sample:
    return _sample(owner, "planrun_info", 1, file=owner.file, version=__version__)


def _sample(owner: Owner, name: str, value: float, **labels: str) -> Sample:
    every = {"plan": owner.plan, "database": owner.database, **labels}
    return Sample(name, tuple((label, text) for label, text in every.items() if text), float(value))


# ------------------------------------------------------------------ a run

_OF_STEPS = tuple(
    f"planrun_last_run_{name}"
    for name in ("rows", "bytes", "locked_seconds", "steps", "step_duration_seconds", "step_rows", "step_bytes")
)
_OF_THE_END = (
    *(f"planrun_last_run_{name}" for name in ("end_timestamp_seconds", "duration_seconds", "exit_code")),
    *_OF_STEPS,
)


def with_run(old: Iterable[Sample], owner: Owner, run: RunMeasures) -> list[Sample]:
    """Return the samples of a file with those of a run in place of the ones of the run of this plan and mode before.

    The last success and the counts before stay where the run itself does not know them. While it is at work, so does
    what is known of the run before it. A run of the journal does not replace a later one, which could not begin.
    """
    every = list(old)
    before = [one for one in every if _is_of_run(one, owner, run.mode)]
    others = [one for one in every if not _is_of_run(one, owner, run.mode)]
    told = _without_success(before) if _is_later(before, run) else [*_start(owner, run), *_end(owner, run, before)]
    return [*others, *told, *_success(owner, run, before), *_counts(owner, run, before)]


_START, _SUCCESS = "planrun_last_run_start_timestamp_seconds", "planrun_last_run_success_timestamp_seconds"


def _is_later(before: Sequence[Sample], run: RunMeasures) -> bool:
    """Return whether the samples are of a run that the journal does not know, and that is later than this one of it."""
    began = next((one.value for one in before if one.name == _START), None)
    if run.counts is None or run.started is None or began is None:
        return False
    # the start of a run is known to the second
    return began > (run.started + 1 if run.ended is None else max(run.ended, run.started))


def _without_success(before: Sequence[Sample]) -> list[Sample]:
    return [one for one in before if one.name not in (_SUCCESS, "planrun_runs_total")]


def _is_of_run(one: Sample, owner: Owner, mode: str) -> bool:
    return one.name in RUN_FAMILIES and one.label("plan") == owner.plan and one.label("mode") == mode


def _start(owner: Owner, run: RunMeasures) -> Iterator[Sample]:
    if run.started is not None:
        yield _sample(owner, _START, run.started, mode=run.mode)
    for state in STATES:
        is_it = run.state == state
        yield _sample(owner, "planrun_last_run_state", is_it, mode=run.mode, state=state)


def _success(owner: Owner, run: RunMeasures, before: Sequence[Sample]) -> Iterator[Sample]:
    at = run.ended if run.success is None and run.state == SUCCESS else run.success
    if at is not None:
        yield _sample(owner, _SUCCESS, at, mode=run.mode)
    elif run.counts is None:  # the journal knows all runs: without a success there, there was none
        yield from (one for one in before if one.name == _SUCCESS)


def _end(owner: Owner, run: RunMeasures, before: Sequence[Sample]) -> Iterator[Sample]:
    if run.ended is None:
        yield from (one for one in before if one.name in _OF_THE_END)
        return

    def sample(name: str, value: float, **labels: str) -> Sample:
        return _sample(owner, f"planrun_last_run_{name}", value, mode=run.mode, **labels)

    yield sample("end_timestamp_seconds", run.ended)
    if run.started is not None:
        yield sample("duration_seconds", max(0.0, round(run.ended - run.started, 3)))
    if run.exit_code is not None:
        yield sample("exit_code", run.exit_code)
    if run.steps is None:  # the journal was read without them
        began = next((one.value for one in before if one.name == _START), None)
        is_same = began is not None and run.started is not None and abs(began - run.started) < 1
        yield from (one for one in before if is_same and one.name in _OF_STEPS)
        return
    for measure, name in (("rows", "rows"), ("bytes", "bytes"), ("locked", "locked_seconds")):
        yield sample(name, run.total(measure))
    for state, count in sorted(Counter(step.state for step in run.steps.values()).items()):
        yield sample("steps", count, state=state)
    for path, step in run.steps.items():
        yield sample("step_duration_seconds", round(step.seconds, 3), step=path)
        if step.rows or step.bytes:
            yield sample("step_rows", step.rows, step=path)
            yield sample("step_bytes", step.bytes, step=path)


def _counts(owner: Owner, run: RunMeasures, before: Sequence[Sample]) -> Iterator[Sample]:
    counts = {one.label("state"): one.value for one in before if one.name == "planrun_runs_total"}
    if run.counts is not None:  # a run that could not begin is not in the journal
        known = {state: float(count) for state, count in run.counts.items() if state != RUNNING}
        counts = {state: count for state, count in counts.items() if state == REFUSED} | known
    elif run.ended is not None:
        counts[run.state] = counts.get(run.state, 0) + 1
    for state, count in sorted(counts.items()):
        yield _sample(owner, "planrun_runs_total", count, mode=run.mode, state=state)


# ------------------------------------------------------------------ sessions


def with_sessions(old: Iterable[Sample], owner: Owner, found: SessionMeasures | None) -> list[Sample]:
    """Return the samples of a file with those of a plan's sessions in place of the ones before; found: None for a plan
    that makes none."""
    others = [one for one in old if one.name not in PLAN_FAMILIES or one.label("plan") != owner.plan]
    return [*others, info(owner), *(_of_sessions(owner, found) if found else ())]


def _of_sessions(owner: Owner, found: SessionMeasures) -> Iterator[Sample]:
    for state, count in found.counts.items():
        yield _sample(owner, "planrun_sessions", count, state=state)
    yield _sample(owner, "planrun_sessions_size_bytes", found.bytes)
    if (newest := found.newest) and newest.taken:
        yield _sample(owner, "planrun_newest_good_session_timestamp_seconds", newest.taken.timestamp())
        yield _sample(owner, "planrun_newest_good_session_size_bytes", newest.bytes)
        yield _sample(owner, "planrun_newest_good_session_rows", newest.rows)
        yield _sample(owner, "planrun_newest_good_session_verified_level", newest.verified)
    for level, one in found.verified.items():
        if one.taken:
            at = one.taken.timestamp()
            yield _sample(owner, "planrun_newest_verified_session_timestamp_seconds", at, level=str(level))
