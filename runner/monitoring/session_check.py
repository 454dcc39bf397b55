"""Whether a plan has a session that is good and young enough, as `backups check` tells a monitor. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from runner.monitoring.sessions import is_ahead
from runner.session_facts import SessionFacts
from runner.words import plural, seconds, span


@dataclass(frozen=True, kw_only=True)
class SessionCheck:
    """problems: why it is not enough; empty if all is well. notes: what to tell all the same.

    good: the newest session that counts, None if there is none. age: its age in seconds.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    good: SessionFacts | None
    age: float | None

    @property
    def ok(self) -> bool:
        return not self.problems


def check(every: Sequence[SessionFacts], now: datetime, *, max_age: float, min_level: int = 0) -> SessionCheck:
    """Look for a complete session, verified at `min_level` or higher, of at most `max_age` seconds.

    every: the sessions of a plan, oldest first. A newer session that is damaged or was not finished is a problem, too,
    and so is one with a date in the future.
    """
    here = [one for one in every if not is_ahead(one, now)]
    complete = [one for one in here if one.state == "complete"]
    good = next((one for one in reversed(complete) if one.verified >= min_level), None)
    age = max(0.0, (now - good.taken).total_seconds()) if good and good.taken else None
    newer = list(takewhile(lambda one: one.state != "complete", reversed(here)))
    problems = [
        *_problems_of_good(good, age, max_age, complete, min_level),
        *(f"the newest session, {one.name}, {_WRONG[one.state]}" for one in newer[:1] if one.state in _WRONG),
        *_ahead([one for one in every if is_ahead(one, now)]),
    ]
    return SessionCheck(problems=tuple(problems), notes=tuple(_notes(here, newer)), good=good, age=age)


_WRONG = {"damaged": "is damaged", "partial": "was not finished"}


def _problems_of_good(
    good: SessionFacts | None, age: float | None, max_age: float, complete: Sequence[SessionFacts], min_level: int
) -> Iterator[str]:
    if good is None and complete:
        level = max(one.verified for one in complete)
        yield f"no session is verified at level {min_level}: " + (f"at most level {level}" if level else "none at all")
    elif good is None or age is None:
        yield "there is no complete session"
    elif age > max_age:
        yield f"the newest good session, {good.name}, is {seconds(age)} old: more than {span(max_age)}"


def _ahead(sessions: Sequence[SessionFacts]) -> Iterator[str]:
    if sessions:
        yield f"session {sessions[-1].name} has a date in the future: the clock was wrong then, or is wrong now"


def _notes(here: Sequence[SessionFacts], newer: Sequence[SessionFacts]) -> Iterator[str]:
    """Yield what is no problem by itself: a backup at work, and what is wrong with other sessions."""
    for one in here:
        if one.state == "writing":
            yield f"session {one.name} is being written"
    first = newer[:1]
    for state, what in (("damaged", "damaged"), ("partial", "not finished")):
        others = [one for one in here if one.state == state and one not in first]
        if others:
            yield f"{plural(len(others), 'other session')} {what}"
