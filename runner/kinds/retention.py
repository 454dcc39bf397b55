"""Remove old sessions from a backup folder, and give the reason for each one that stays or goes.

The step decides from the manifests, separately for each database. It removes a session only if no rule keeps it. It
always keeps the newest session, the newest session that is verified at level `min_verified`, folders that planrun did
not make, sessions that are being written, and sessions of other plans. It removes leftovers of interrupted backups.
Without any rule it removes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from runner.fates import Fate, ObjectFate, Preview
from runner.kinds.base import (
    AHEAD,
    BadParam,
    CatalogReader,
    Output,
    Prospect,
    Render,
    SessionFacts,
    SqlReader,
    build,
    param,
)
from runner.losses import Good, Loss
from runner.model import Action, Note, Prune, Result
from runner.record import dataclass

OUTPUTS: Mapping[str, Output] = {
    "kept": Output("array", "The sessions that stay.", fields=("session", "reason")),
    "removed": Output("array", "The sessions that were removed.", fields=("session", "reason")),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    path: str = param("The folder that holds the sessions.", path=True, written=True, minLength=1)
    keep_last: int | None = param("Keep this many of the newest sessions.", default=None, minimum=1)
    keep_within: float | None = param(
        "Keep sessions that are not older than this.", default=None, unit="duration", examples=["30d", "12h"]
    )
    retention_days: float | None = param(
        "Keep sessions that are not older than this many days; the same as `keep_within`.",
        default=None,
        minimum=0,
    )
    min_verified: int = param(
        "Only a session verified at this level or higher counts as good; nothing is removed until one exists.",
        default=0,
        minimum=0,
        maximum=3,
    )
    plan: str = param("Only sessions of this plan; by default, of the plan that contains the step.", default="")
    also: tuple[Mapping[str, Any], ...] = param(
        "More rules with the same keys, applied separately; a session is removed only if no rule keeps it.",
        default=(),
        examples=[[{"keep_last": 3, "min_verified": 3}]],
    )

    def __post_init__(self) -> None:
        if unknown := sorted({name for one in self.also for name in one} - {*RULES}):
            raise BadParam(
                ("also",), f"also: {', '.join(unknown)}: no rule", hint=f"known: {', '.join(RULES)}", code="PR0112"
            )

    @property
    def removes(self) -> bool:
        """Whether this rule can remove any complete session."""
        return self.keep_last is not None or _window(self) is not None


RULES = ("keep_last", "keep_within", "retention_days", "min_verified")


class Decision(NamedTuple):
    name: str
    action: Literal["keep", "remove"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What becomes of each session. earlier: the names of complete ones that this run did not make."""

    decisions: tuple[Decision, ...]
    earlier: frozenset[str]


# ------------------------------------------------------------------ the decision


def decide(sessions: Sequence[SessionFacts], rules: Params, now: datetime, plan: str = "") -> list[Decision]:
    """Decide for each session, in the given order, whether it stays and why. `now` must have a time zone.

    plan: only sessions of the plan of this name count; "" means all.
    """
    ours = [s for s in sessions if (not plan or s.plan in ("", plan)) and not (s.taken and s.taken > now + AHEAD)]
    return [_decision(session, ours, rules, now) for session in sessions]


def every_rule(params: Params, folder: Path) -> list[Params]:
    """Return the rules that can remove a session; an empty rule would keep everything."""
    others = [build(Params, {**one, "path": params.path}, folder) for one in params.also]
    return [one for one in (params, *others) if one.removes] or [params]


def decide_by_all(
    sessions: Sequence[SessionFacts], rules: Sequence[Params], now: datetime, plan: str = ""
) -> list[Decision]:
    """Decide by several rules separately: a session stays if any of them keeps it."""
    found = [decide(sessions, one, now, plan) for one in rules]
    return [next((one for one in each if one.action == "keep"), each[-1]) for each in zip(*found, strict=True)]


def _decision(session: SessionFacts, ours: Sequence[SessionFacts], rules: Params, now: datetime) -> Decision:
    if session not in ours:
        ahead = session.taken is not None and session.taken > now + AHEAD
        reason = "dated in the future: check the clock" if ahead else f"made by plan {session.plan}"
        return Decision(session.name, "keep", reason)
    like = (s for s in ours if s.state == "complete" and s.database == session.database)
    complete = sorted(like, key=_newest_first, reverse=True)
    good = [each for each in complete if each.verified >= rules.min_verified]
    return Decision(session.name, *_decide_one(session, complete, good, rules, now))


def _newest_first(session: SessionFacts) -> tuple[datetime, str]:
    assert session.taken is not None
    return session.taken, session.name


_NOT_COMPLETE: Mapping[str, tuple[Literal["keep", "remove"], str]] = {
    "partial": ("remove", "left over from an interrupted backup"),
    "writing": ("keep", "being written"),
    "foreign": ("keep", "not made by planrun"),
    "damaged": ("keep", "damaged; check it: planrun backups verify"),
}


def _decide_one(
    session: SessionFacts,
    complete: Sequence[SessionFacts],
    good: Sequence[SessionFacts],
    rules: Params,
    now: datetime,
) -> tuple[Literal["keep", "remove"], str]:
    if session.state != "complete":
        return _NOT_COMPLETE[session.state]
    reason = _why_kept(session, complete, good, rules, now)
    return ("keep", reason) if reason else ("remove", _why_removed(rules))


def _why_kept(
    session: SessionFacts,
    complete: Sequence[SessionFacts],
    good: Sequence[SessionFacts],
    rules: Params,
    now: datetime,
) -> str:
    window = _window(rules)
    assert session.taken is not None
    if window is None and rules.keep_last is None:
        return "no rule removes anything"
    if not good:
        return f"no session is verified at level {rules.min_verified} yet"
    if session in good[: rules.keep_last or 0]:
        return f"one of the last {rules.keep_last}"
    if window is not None and now - session.taken <= window:
        return f"not older than {_days(window)}"
    if session == good[0]:
        return "the last good one"
    return "the newest one" if session == complete[0] else ""


def _window(rules: Params) -> timedelta | None:
    """Return the time for which everything is kept, by the longer of the two settings."""
    seconds = [rules.keep_within, None if rules.retention_days is None else rules.retention_days * 86400]
    given = [value for value in seconds if value is not None]
    return timedelta(seconds=min(max(given), timedelta.max.total_seconds() - 1)) if given else None


def _why_removed(rules: Params) -> str:
    window = _window(rules)
    reasons = [f"older than {_days(window)}"] if window is not None else []
    reasons += [f"not one of the last {rules.keep_last}"] if rules.keep_last else []
    return ", ".join(reasons)


def _days(window: timedelta) -> str:
    days, seconds = window.days, window.seconds
    return f"{days} days" if not seconds else f"{round(window.total_seconds() / 3600, 2):g} hours"


# ------------------------------------------------------------------ the kind


def look(params: Params, reader: CatalogReader) -> Facts:
    every, rules = reader.sessions(params.path), every_rule(params, reader.folder)
    found = decide_by_all(every, rules, reader.start_time, params.plan or reader.plan)
    whole = ((one.name, one.taken) for one in every if one.state == "complete")
    earlier = frozenset(name for name, taken in whole if taken and taken < reader.start_time)
    return Facts(decisions=tuple(found), earlier=earlier)


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    lines = [f"{each.action} {each.name}: {each.reason}" for each in facts.decisions]
    note = Note(text="\n".join(lines) or f"no sessions in {params.path}", idle=not lines)
    removals = tuple(each.name for each in facts.decisions if each.action == "remove")
    return (note, Prune(folder=params.path, sessions=removals)) if removals else (note,)


def fates(params: Params, facts: Facts) -> Iterator[ObjectFate]:
    """Yield the sessions to remove, except those that this run made, which no diff can name."""
    yield from (_fate(each) for each in facts.decisions if each.action == "remove" and each.name in facts.earlier)


def preview(prospect: Prospect) -> Preview | None:
    """Preview the sessions to remove if the backup of this run succeeds, which is then the newest one."""
    params, reader = prospect.params, prospect.reader
    if params is None:
        return None
    every = reader.sessions(params.path)
    found = decide_by_all(
        [*every, *_future_sessions(prospect, every)],
        every_rule(params, reader.folder),
        reader.start_time,
        params.plan or reader.plan,
    )
    removals = [each for each in found if each.action == "remove" and each.name]
    kept = [f"keeps {each.name}: {each.reason}" for each in found if each.action == "keep" and each.name]
    return Preview(
        objects=tuple(map(_fate, removals)), lines=tuple(kept) or (f"no sessions in {params.path}",) * (not removals)
    )


def _fate(each: Decision) -> ObjectFate:
    return ObjectFate(kind="session", name=each.name, fate=Fate.DROPPED, note=each.reason)


def _future_sessions(prospect: Prospect, every: Sequence[SessionFacts]) -> Iterator[SessionFacts]:
    """Yield the sessions that earlier steps will make. Their database is that of the plan's last session there."""
    ours = [one.database for one in every if one.plan == prospect.reader.plan]
    level = max((one.level for one in prospect.before("verify_backup")), default=0)
    for saved in prospect.before("pg_dump"):
        if saved.place == prospect.params.path:
            yield SessionFacts(
                name="",
                state="complete",
                taken=prospect.reader.start_time,
                verified=level,
                plan=prospect.reader.plan,
                database=ours[-1] if ours else "",
            )


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    told: dict[str, list[dict[str, str]]] = {"keep": [], "remove": []}
    for each in facts.decisions:
        told[each.action].append({"session": each.name, "reason": each.reason})
    return {"kept": told["keep"], "removed": told["remove"]}


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    rules = (
        *map(given.get, ("keep_last", "keep_within", "retention_days")),
        None if given.get("also", []) == [] else given["also"],
    )
    if all(rule is None for rule in rules):
        return ()
    return (Loss(what="removal of old sessions", good=Good.SESSIONS, place=given.get("path")),)
