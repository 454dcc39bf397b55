"""Which sessions of a folder stay, and all the reasons for it: rules by number, by age, by calendar and by proof.

The rules are those of restic's `forget`: a session stays if any rule keeps it; `hourly` to `yearly` keep the last
session of as many hours or years as have one, and the oldest session while there are fewer; ages count from the newest
session, so that a wrong clock or a pause of the backups removes nothing by itself
(https://restic.readthedocs.io/en/stable/060_forget.html, removing snapshots according to a policy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from runner.session_facts import AHEAD, SKEW, SessionFacts

PROVED = 3
"""The verification level that restores every table and compares it."""

PERIODS: Mapping[str, tuple[str, Callable[[datetime], str]]] = {
    "keep_hourly": ("hour", lambda at: f"{at:%Y-%m-%d %H}:00"),
    "keep_daily": ("day", lambda at: f"{at:%Y-%m-%d}"),
    "keep_weekly": ("week", lambda at: f"{at:%G-W%V}"),
    "keep_monthly": ("month", lambda at: f"{at:%Y-%m}"),
    "keep_yearly": ("year", lambda at: f"{at:%Y}"),
}
"""The name of each calendar rule -> its period in words, and the period that a time in UTC is in (weeks: ISO 8601)."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Rules that are applied together: what any of them keeps, stays.

    last: number of sessions. within: age. periods: the name of a calendar rule -> number of periods. min_verified: only
    sessions of this level count. proved: how many of the newest sessions of level 3 stay, whatever else holds.
    """

    last: int | None = None
    within: timedelta | None = None
    periods: Mapping[str, int]
    min_verified: int = 0
    proved: int = 1

    @property
    def removes(self) -> bool:
        """Whether these rules can remove any complete session."""
        return self.last is not None or self.within is not None or bool(self.periods)


class Decision(NamedTuple):
    name: str
    action: Literal["keep", "remove"]
    reason: str


def decide(
    sessions: Sequence[SessionFacts], every: Sequence[Rules], now: datetime, plan: str = "", run: str = ""
) -> list[Decision]:
    """Decide for each session, in the given order, whether it stays and why. `now` must have a time zone.

    every: rules that are applied separately; a session goes only if none of them keeps it. plan: only sessions of the
    plan of this name count; "" means all. run: what this run has made stays.
    """
    kept: dict[str, list[str]] = {}
    for group in _groups(sessions, plan):
        for rules in every:
            for name, reason in _reasons_to_keep(rules, group, now, run):
                reasons = kept.setdefault(name, [])
                reasons += [reason] if reason not in reasons else []
    why_not = "; ".join(dict.fromkeys(map(_why_removed, every)))
    return [_decision(session, kept.get(session.name, []), why_not, plan) for session in sessions]


def _groups(sessions: Sequence[SessionFacts], plan: str) -> Iterator[list[SessionFacts]]:
    """Yield the complete sessions of each database of the plan, newest first."""
    ours = [one for one in sessions if one.state == "complete" and _is_ours(one, plan)]
    for database in dict.fromkeys(one.database for one in ours):
        yield sorted((one for one in ours if one.database == database), key=lambda one: one.age_key, reverse=True)


def _is_ours(session: SessionFacts, plan: str) -> bool:
    return not plan or session.plan in ("", plan)


def _time(session: SessionFacts) -> datetime:
    assert session.taken is not None, "a complete session has a manifest with its time"
    return session.taken.astimezone(UTC)


_NOT_COMPLETE: Mapping[str, tuple[Literal["keep", "remove"], str]] = {
    "partial": ("remove", "left over from an interrupted backup"),
    "writing": ("keep", "being written"),
    "foreign": ("keep", "not made by planrun"),
    "damaged": ("keep", "damaged; check it: planrun backups verify"),
}


def _decision(session: SessionFacts, reasons: Sequence[str], why_not: str, plan: str) -> Decision:
    if not _is_ours(session, plan):
        return Decision(session.name, "keep", f"made by plan {session.plan}")
    if session.state != "complete":
        return Decision(session.name, *_NOT_COMPLETE[session.state])
    return Decision(session.name, "keep", ", ".join(reasons)) if reasons else Decision(session.name, "remove", why_not)


# ------------------------------------------------------------------ what keeps a session


def _reasons_to_keep(rules: Rules, group: Sequence[SessionFacts], now: datetime, run: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each session that stays, with a reason; a session may have several."""
    good = [one for one in group if one.verified >= rules.min_verified]
    if stop := _why_nothing_goes(rules, group, good, now):
        yield from ((one.name, stop) for one in group)
        return
    found = [*_by_rule(rules, group, good)]
    names = {name for name, _ in found}
    yield from found
    yield from ((one.name, reason) for one, reason in _always(group, good, run) if one.name not in names)


def _by_rule(rules: Rules, group: Sequence[SessionFacts], good: Sequence[SessionFacts]) -> Iterator[tuple[str, str]]:
    yield from ((one.name, f"one of the last {rules.last}") for one in good[: rules.last or 0])
    if rules.within is not None:
        newest = _time(group[0])
        young = (one for one in group if newest - _time(one) <= rules.within)
        yield from ((one.name, f"not older than {_days(rules.within)}") for one in young)
    for rule, count in rules.periods.items():
        yield from _of_periods(rule, count, good)
    proved = [one for one in group if one.verified >= PROVED][: rules.proved]
    of = "the last" if rules.proved == 1 else f"one of the last {rules.proved}"
    yield from ((one.name, f"{of} restored and compared") for one in proved)


def _why_nothing_goes(rules: Rules, group: Sequence[SessionFacts], good: Sequence[SessionFacts], now: datetime) -> str:
    """Return why every session stays, "" if the rules decide."""
    if not rules.removes:
        return "no rule removes anything"
    newest = group[0]
    if _time(newest) > now + AHEAD:
        return f"nothing goes while {newest.name} is dated in the future: check the clock, or remove it by its name"
    if abs(newest.clock_ahead) > SKEW.total_seconds():
        return f"nothing goes: the clock was {_clock(newest.clock_ahead)} the database server's for {newest.name}"
    return "" if good else f"no session is verified at level {rules.min_verified} yet"


def _clock(ahead: float) -> str:
    return f"{_days(timedelta(seconds=round(abs(ahead))))} {'ahead of' if ahead > 0 else 'behind'}"


def _of_periods(rule: str, count: int, good: Sequence[SessionFacts]) -> Iterator[tuple[str, str]]:
    """Yield the newest session of each of the last `count` periods that have one."""
    word, period_of = PERIODS[rule]
    newest: dict[str, SessionFacts] = {}
    for one in good:
        newest.setdefault(period_of(_time(one)), one)
    yield from ((one.name, f"the last of {word} {period}") for period, one in [*newest.items()][:count])
    if good and len(newest) < count and good[-1] not in newest.values():
        yield good[-1].name, f"the oldest, as fewer than {count} {word}s have a session"


def _always(
    group: Sequence[SessionFacts], good: Sequence[SessionFacts], run: str
) -> Iterator[tuple[SessionFacts, str]]:
    """Yield what stays even if no rule keeps it. The first reason for a session is the one to give."""
    yield good[0], "the last good one"
    if group[0] is not good[0]:
        yield group[0], "the newest one"
    yield from ((one, "made by this run") for one in group if run and one.run == run and one not in (good[0], group[0]))


# ------------------------------------------------------------------ words


def _why_removed(rules: Rules) -> str:
    reasons = [f"older than {_days(rules.within)}"] if rules.within is not None else []
    reasons += [f"not one of the last {rules.last}"] if rules.last else []
    reasons += [f"not the last of one of {count} {PERIODS[rule][0]}s" for rule, count in rules.periods.items()]
    return ", ".join(reasons)


def _days(window: timedelta) -> str:
    days, seconds = window.days, window.seconds
    if not seconds:
        return f"{days} {'day' if days == 1 else 'days'}"
    return f"{round(window.total_seconds() / 3600, 2):g} hours"
