"""The report of one run as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runner import __version__
from runner.journal.records import Record
from runner.model import command
from runner.webpage import digest, measures, template, timeline
from runner.webpage.fields import mapping, text, texts, whole
from runner.webpage.locks import StepLock, step_locks
from runner.webpage.run_facts import NO_END, Attempt, RunFacts, StepFacts, outcome_counts
from runner.webpage.run_records import run_facts
from runner.webpage.run_rows import State, guards, object_rows, step_row
from runner.words import plural, seconds, size

SHOWN = 50
"""How many lines of a table or of a timeline are not folded."""


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """The timeline of an attempt: its bars as far as they are shown, and the others."""

    attempt: Attempt
    state: State
    marks: Sequence[str]
    shown: Sequence[Sequence[timeline.Bar]]
    folded: Sequence[Sequence[timeline.Bar]]


def page(records: Sequence[Record], *, made: datetime) -> str:
    """Return the report of a run from its records. Raises ValueError for records without the beginning of a run.

    The same records, time and version of planrun give the same text.
    """
    run = run_facts(records)
    if run is None:
        raise ValueError("no run begins in these records")
    steps = run.steps()
    locks = {id(attempt): _locks(attempt) for attempt in run.attempts}
    every = [lock for found in locks.values() for lock in found]
    rows = sorted(object_rows(steps), key=lambda one: one.order)
    measured = [one for step in steps for one in measures.measures(step)]
    return template.render(
        "run.html.j2",
        run=run, state=State(word=run.state), head=_head(run), made=f"{made.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        version=__version__, meta=_meta(run, records, made), summary=list(_summary(run, steps, every, measured)),
        failures=[step_row(one) for one in steps if one.state == "failed" and not one.is_group],
        attempts=[_attempt_row(one, locks[id(one)]) for one in run.attempts],
        steps=[step_row(one) for one in steps], objects=rows, measures=measured, locks=every, waits=run.waits(),
        guards=list(guards(steps)), proofs=[one for step in steps if (one := measures.proof(step))],
        checks=measures.checks(steps), environment=list(_environment(run, steps)), shown=SHOWN,
        largest=max((one.bytes or one.rows or 0 for one in measured), default=0),
    )  # fmt: skip


def _meta(run: RunFacts, records: Sequence[Record], made: datetime) -> dict[str, str]:
    """Return what a program reads from a report: see runner.webpage.stored_report."""
    return {
        "plan": text(run.record, "plan"), "run": run.id, "mode": text(run.first_record, "mode"), "state": run.state,
        "began": run.began.isoformat() if run.began else "", "ended": run.ended.isoformat() if run.ended else "",
        "digest": digest.digest(records), "records": str(len(records)), "made": made.astimezone(UTC).isoformat(),
        "planrun": __version__,
    }  # fmt: skip


# ------------------------------------------------------------------ the first screen


def _head(run: RunFacts) -> Mapping[str, Any]:
    record = run.record
    return {
        "databases": texts(record, "databases"),
        "plan": text(record, "plan"),
        "file": text(record, "file"),
        "mode": text(run.first_record, "mode"),
        "began": moment_text(run.began),
        "took": duration(run),
        "check": command(text(record, "file"), texts(record, "sets"), "report", "--check", "THIS_FILE.html"),
        "next": run.next_command,
        "way_back": run.way_back if run.state == "ok" else "",
        "message": run.message,
        "exit_code": run.exit_code,
        "no_end": run.state == NO_END,
    }


def moment_text(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "not recorded"


def duration(run: RunFacts) -> str:
    """Return how long a run took, and how long it worked if that is less."""
    if run.began is None or run.ended is None:
        return "no end is recorded"
    whole_time = (run.ended - run.began).total_seconds()
    if len(run.attempts) == 1:
        return seconds(run.seconds if run.seconds is not None else whole_time)
    worked = f", {seconds(run.seconds)} of it at work" if run.seconds is not None else ""
    return f"{seconds(max(whole_time, 0.0))}{worked}, in {plural(len(run.attempts), 'attempt')}"


def _summary(
    run: RunFacts, steps: Sequence[StepFacts], locks: Sequence[StepLock], measured: Sequence[measures.Measure]
) -> Iterator[tuple[str, str]]:
    counts = outcome_counts(steps)
    yield "Steps", ", ".join(f"{count:,} {state}" for state, count in counts.items()) or "none"
    for work in dict.fromkeys(one.work for one in measured):
        some = [one for one in measured if one.work == work]
        rows, volume = sum(one.rows or 0 for one in some), sum(one.bytes or 0 for one in some)
        words = f"{plural(len(some), 'table')}, {plural(rows, 'row')}"
        yield f"Rows {work}", f"{words}, {size(volume)}" if volume else words
    exact = [lock.seconds for lock in locks if lock.about == "measured" and lock.seconds is not None]
    if exact:
        yield "Locks of exchanges", f"held for {seconds(sum(exact))} in all, as measured"
    waited = [wait.seconds for wait in run.waits() if wait.seconds is not None]
    if waited:
        yield "Waits for locks", f"{plural(len(waited), 'wait')}, about {seconds(sum(waited))}"
    longest = max((one for one in steps if one.seconds and not one.is_group), key=_seconds, default=None)
    if longest:
        yield "Longest step", f"{longest.path}, {seconds(_seconds(longest))}"


def _seconds(step: StepFacts) -> float:
    return step.seconds or 0.0


# ------------------------------------------------------------------ timeline, locks, environment


def _locks(attempt: Attempt) -> list[StepLock]:
    return [lock for step in attempt.steps.values() if not step.recorded for lock in step_locks(step)]


def _attempt_row(attempt: Attempt, locks: Sequence[StepLock]) -> AttemptRow:
    at = timeline.span(attempt)
    groups = list(timeline.step_bars(attempt, at, locks)) if at else []
    groups = [group for group in groups if group]
    first = set(timeline.longest_first(groups)[:SHOWN])
    return AttemptRow(
        attempt=attempt,
        state=State(word=attempt.state),
        marks=at.marks() if at else (),
        shown=[group for number, group in enumerate(groups) if number in first],
        folded=[group for number, group in enumerate(groups) if number not in first],
    )


def _environment(run: RunFacts, steps: Iterable[StepFacts]) -> Iterator[tuple[str, str]]:
    record = run.record
    yield "planrun", text(record, "version") or "not recorded"
    servers = mapping(record, "servers")
    if not servers:
        yield "PostgreSQL", "not recorded"
    for name, version in servers.items():
        yield f"PostgreSQL ({name or 'default connection'})", str(version)
    found = [one.result for step in steps for one in step.done]
    dumps = dict.fromkeys(version for result in found if (version := text(result, "pg_dump")))
    if dumps:
        yield "pg_dump", ", ".join(dumps)
    yield "Host", text(record, "host") or "not recorded"
    yield "User", text(record, "user") or "not recorded"
    yield "Process", str(whole(record, "pid") or "not recorded")
    yield "Plan file", text(record, "file") or "not recorded"
    yield "Digest of the plan", text(record, "digest") or "not recorded"
    yield "Options", " ".join(texts(record, "options")) or "none"
    yield "--set", "  ".join(texts(record, "sets")) or "none"
