"""The pictures of the index as numbers for its template: a calendar of runs, and the sizes of sessions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from runner.webpage.index_facts import Run, Session
from runner.words import plural, size

WEEKS = 26
"""The weeks that the calendar shows, up to the week of the page."""

CELL = 16
"""The width of a day in the calendar, in units of its picture."""

BARS = 60
"""The newest sessions that have a bar."""

HEIGHT = 120
"""The height of the highest bar, in units of the picture."""


@dataclass(frozen=True, kw_only=True)
class Day:
    """A day of the calendar. look: ok, bad, warn or empty; sign: the same as a character."""

    x: int
    y: int
    look: str
    sign: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Month:
    x: int
    name: str


@dataclass(frozen=True, kw_only=True)
class SizeBar:
    x: float
    y: float
    width: float
    height: float
    title: str


_SIGNS = {"ok": "✓", "bad": "✗", "warn": "!", "empty": ""}


def calendar(runs: Iterable[Run], made: datetime) -> tuple[list[Day], list[Month]]:
    """Return the days of the last weeks, and where each month begins."""
    today = made.astimezone(UTC).date()
    monday = today - timedelta(days=today.weekday(), weeks=WEEKS - 1)
    of_day: dict[date, list[Run]] = {}
    for run in runs:
        if run.began:
            of_day.setdefault(run.began.astimezone(UTC).date(), []).append(run)
    days = [monday + timedelta(days=number) for number in range((today - monday).days + 1)]
    months = [
        Month(x=(day - monday).days // 7 * CELL, name=f"{day:%b}")
        for day in days
        if day.day <= 7 and day.weekday() == 0
    ]
    return [_day(day, monday, of_day.get(day, [])) for day in days], months


def _day(day: date, monday: date, runs: Sequence[Run]) -> Day:
    number = (day - monday).days
    states = [run.state for run in runs]
    bad = sum(state in ("failed", "interrupted") for state in states)
    good = states.count("ok")
    look = "empty" if not runs else "bad" if bad else "ok" if good == len(runs) else "warn"
    words = [plural(len(runs), "run")] if runs else ["no run"]
    words += [f"{bad} not ok"] if bad else []
    return Day(
        x=number // 7 * CELL, y=number % 7 * CELL, look=look, sign=_SIGNS[look], title=f"{day}: {', '.join(words)}"
    )


def size_bars(sessions: Sequence[Session]) -> tuple[list[SizeBar], int]:
    """Return a bar for each of the newest sessions, oldest first, and the bytes of the highest."""
    shown = [one for one in sessions if one.taken][-BARS:]
    largest = max((one.bytes for one in shown), default=0)
    width = 600 / max(len(shown), 12)
    return [_size_bar(number, one, width, largest) for number, one in enumerate(shown)], largest


def _size_bar(number: int, one: Session, width: float, largest: int) -> SizeBar:
    height = max(one.bytes / largest * HEIGHT, 1.0) if largest else 1.0
    return SizeBar(
        x=round(number * width, 1), y=round(HEIGHT - height, 1), width=round(width * 0.8, 1), height=round(height, 1),
        title=f"{one.name}: {size(one.bytes)}, {plural(one.rows, 'row')}, {one.state}",
    )  # fmt: skip
