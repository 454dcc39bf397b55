"""The index: a page over the runs and sessions of plans, with links to the reports beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runner import __version__
from runner.webpage import charts, index_facts, template
from runner.webpage.index_facts import Expected, PlanFacts, Run, Session
from runner.webpage.run_page import SHOWN, moment_text
from runner.webpage.run_rows import State
from runner.webpage.stored_report import Stored
from runner.words import seconds


@dataclass(frozen=True, kw_only=True)
class PlanRow:
    """A plan on the first screen. newest: its newest complete session.

    expected: its next run, None if it cannot be told; overdue: that time is past.
    """

    facts: PlanFacts
    last: Run | None
    state: State
    good: str
    newest: Session | None
    newest_age: str
    expected: Expected | None
    overdue: bool


def page(plans: Sequence[PlanFacts], reports: Mapping[tuple[str, str], Stored], *, made: datetime) -> str:
    """Return the index. reports: those in its folder by plan and run, which also tell of plans that are not given."""
    runs = sorted(_runs(plans, reports), key=lambda one: (one.began or made, one.id), reverse=True)
    of_plan = [(plan, index_facts.sessions(plan)) for plan in plans]
    sessions = [one for _, some in of_plan for one in some]
    sessions.sort(key=lambda one: one.taken or made)
    proofs = sorted((p for one in sessions for p in one.proofs), key=lambda one: one.at or made, reverse=True)
    days, months = charts.calendar(runs, made)
    bars, largest = charts.size_bars(sessions)
    return template.render(
        "index.html.j2",
        meta={"index": "1", "made": made.astimezone(UTC).isoformat(), "planrun": __version__},
        made=moment_text(made), version=__version__, shown=SHOWN,
        plans=[_plan_row(plan, runs, some, made) for plan, some in of_plan],
        runs=[(one, State(word=one.state)) for one in runs], days=days, months=months, bars=bars, largest=largest,
        span=_span(bars, sessions), cell=charts.CELL, weeks=charts.WEEKS, height=charts.HEIGHT,
        sessions=sessions[::-1], drills=[(one, State(word=one.state)) for one in proofs if one.is_drill],
        verdict=_verdict, moment=moment_text, few=index_facts.FEWEST,
    )  # fmt: skip


def _runs(plans: Iterable[PlanFacts], reports: Mapping[tuple[str, str], Stored]) -> Iterator[Run]:
    told: set[tuple[str, str]] = set()
    for plan in plans:
        for run in index_facts.runs(plan, reports):
            told.add((run.plan, run.id))
            yield run
    yield from (index_facts.run_of_report(stored) for key, stored in reports.items() if key not in told)


def _plan_row(plan: PlanFacts, runs: Sequence[Run], sessions: Sequence[Session], made: datetime) -> PlanRow:
    own = [one for one in runs if one.plan == plan.name]
    complete = [one for one in sessions if one.state == "complete" and one.taken]
    newest = complete[-1] if complete else None
    good = next((one for one in own if one.state == "ok"), None)
    age = (made - newest.taken).total_seconds() if newest and newest.taken else 0.0
    expected = index_facts.next_run(plan.name, own)
    return PlanRow(
        facts=plan, last=own[0] if own else None, state=State(word=own[0].state if own else "never run"),
        good=moment_text(good.began) if good else "never", newest=newest, newest_age=f"{seconds(max(age, 0.0))} old",
        expected=expected, overdue=expected is not None and expected.at < made,
    )  # fmt: skip


def _span(bars: Sequence[charts.SizeBar], sessions: Sequence[Session]) -> tuple[str, str]:
    """Return the days of the first and the last bar."""
    shown = [one for one in sessions if one.taken][-len(bars) :] if bars else []
    days = [f"{one.taken:%Y-%m-%d}" for one in shown if one.taken]
    return (days[0], days[-1]) if days else ("", "")


def _verdict(session: Session) -> str:
    """Return the highest level that a session has passed, in words."""
    return f"level {session.level}" if session.level else "not verified"
