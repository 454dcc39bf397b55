"""Remove old sessions from a backup folder, and give the reason for each one that stays or goes.

The step decides from the manifests, separately for each database. It removes a session only if no rule keeps it. It
always keeps the newest session, the newest session that is verified at level `min_verified`, the last one that was
restored and compared, folders that planrun did not make, sessions that are being written, and sessions of other plans.
It removes nothing while a clock is wrong. It removes leftovers of interrupted backups. Without any rule it removes
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from runner.errors import PlanrunError
from runner.fates import Fate, ObjectFate, Preview
from runner.guard import nearest
from runner.kinds.base import (
    BadParam,
    CatalogReader,
    Output,
    Prospect,
    Render,
    SqlReader,
    build,
    param,
)
from runner.losses import Good, Loss
from runner.model import Action, Note, Prune, Result
from runner.record import dataclass
from runner.retention import PERIODS, PROVED, Decision, Rules, decide
from runner.session_facts import SessionFacts

OUTPUTS: Mapping[str, Output] = {
    "kept": Output("array", "The sessions that stay.", fields=("session", "reason")),
    "removed": Output("array", "The sessions that were removed.", fields=("session", "reason")),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    path: str = param("The folder that holds the sessions.", path=True, written=True, minLength=1)
    keep_last: int | None = param("Keep this many of the newest sessions.", default=None, minimum=1)
    keep_within: float | None = param(
        "Keep sessions that are at most this much older than the newest one.",
        default=None,
        unit="duration",
        examples=["30d", "12h"],
    )
    keep_hourly: int | None = param("Keep the last session of this many hours that have one.", default=None, minimum=1)
    keep_daily: int | None = param(
        "Keep the last session of this many days (UTC) that have one.", default=None, minimum=1
    )
    keep_weekly: int | None = param("Keep the last session of this many weeks that have one.", default=None, minimum=1)
    keep_monthly: int | None = param(
        "Keep the last session of this many months that have one.", default=None, minimum=1
    )
    keep_yearly: int | None = param("Keep the last session of this many years that have one.", default=None, minimum=1)
    retention_days: float | None = param(
        "Keep sessions that are at most this many days older than the newest one; the same as `keep_within`.",
        default=None,
        minimum=0,
    )
    min_verified: int = param(
        "Only a session verified at this level or higher counts as good; nothing is removed until one exists.",
        default=0,
        minimum=0,
        maximum=3,
    )
    keep_verified_last: int = param(
        "Keep this many of the newest sessions that were restored and compared (level 3), whatever other rules say.",
        default=1,
        minimum=1,
    )
    plan: str = param("Only sessions of this plan; by default, of the plan that contains the step.", default="")
    also: tuple[Mapping[str, Any], ...] = param(
        "More rules with the same keys, applied separately; a session is removed only if no rule keeps it.",
        default=(),
        examples=[[{"keep_last": 3, "min_verified": 3}]],
    )
    sessions: tuple[str, ...] = param(
        "Remove just these sessions, each by its full name, whatever the rules say.",
        default=(),
        examples=[["backup_2025-07-20T12-26-55-178Z"]],
    )

    def __post_init__(self) -> None:
        if unknown := sorted({name for one in self.also for name in one} - {*RULES}):
            raise BadParam(
                ("also",), f"also: {', '.join(unknown)}: no rule", hint=f"known: {', '.join(RULES)}", code="PR0112"
            )

    @property
    def rules(self) -> Rules:
        counts = {name: getattr(self, name) for name in PERIODS}
        return Rules(
            last=self.keep_last,
            within=_window(self),
            periods={name: count for name, count in counts.items() if count is not None},
            min_verified=self.min_verified,
            proved=self.keep_verified_last,
        )


def _window(params: Params) -> timedelta | None:
    """Return the age up to which everything is kept, by the longer of the two settings."""
    seconds = [params.keep_within, None if params.retention_days is None else params.retention_days * 86400]
    known = [value for value in seconds if value is not None]
    return timedelta(seconds=min(max(known), timedelta.max.total_seconds() - 1)) if known else None


REMOVING = ("keep_last", "keep_within", "retention_days", *PERIODS)
RULES = (*REMOVING, "min_verified", "keep_verified_last")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What becomes of each session. earlier: the names of complete ones that this run did not make."""

    decisions: tuple[Decision, ...]
    earlier: frozenset[str]


# ------------------------------------------------------------------ the rules


def every_rule(params: Params, folder: Path) -> list[Params]:
    """Return the rules that can remove a session; an empty rule would keep everything."""
    others = [build(Params, {**one, "path": params.path}, folder) for one in params.also]
    return [one for one in (params, *others) if one.rules.removes] or [params]


def _decide(params: Params, reader: CatalogReader, every: Sequence[SessionFacts]) -> list[Decision]:
    if params.sessions:
        return [_by_name(params, one) for one in every if one.name]
    rules = [one.rules for one in every_rule(params, reader.folder)]
    return decide(every, rules, reader.start_time, params.plan or reader.plan, reader.run)


def _by_name(params: Params, session: SessionFacts) -> Decision:
    if session.name not in params.sessions:
        return Decision(session.name, "keep", "not named")
    proof = "; it was restored and compared" if session.verified >= PROVED else ""
    return Decision(session.name, "remove", f"named, whatever the rules say{proof}")


def _refuse_absent(params: Params, every: Sequence[SessionFacts]) -> None:
    """Raise PlanrunError for a name that no session has, with the nearest one."""
    there = [one.name for one in every if one.state != "foreign"]
    for name in params.sessions:
        if name not in there:
            raise PlanrunError(
                f"there is no session {name}", where=params.path, hint=nearest(name, there), code="PR0605"
            )


# ------------------------------------------------------------------ the kind


def look(params: Params, reader: CatalogReader) -> Facts:
    every = reader.sessions(params.path)
    _refuse_absent(params, every)
    found = _decide(params, reader, every)
    whole = ((one.name, one.taken) for one in every if one.state == "complete")
    earlier = frozenset(name for name, taken in whole if taken and taken < reader.start_time)
    return Facts(decisions=tuple(found), earlier=earlier)


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    lines = [f"{each.action} {each.name}: {each.reason}" for each in facts.decisions]
    note = Note(text="\n".join(lines) or f"no sessions in {params.path}", idle=not lines)
    removals = tuple(each.name for each in facts.decisions if each.action == "remove")
    prune = Prune(folder=params.path, sessions=removals, by_name=bool(params.sessions))
    return (note, prune) if removals else (note,)


def fates(params: Params, facts: Facts) -> Iterator[ObjectFate]:
    """Yield the sessions to remove, except those that this run made, which no diff can name."""
    yield from (_fate(each) for each in facts.decisions if each.action == "remove" and each.name in facts.earlier)


def preview(prospect: Prospect) -> Preview | None:
    """Preview the sessions to remove if the backups and proofs of this run succeed."""
    params, reader = prospect.params, prospect.reader
    if params is None:
        return None
    every = [_prove(one, prospect) for one in reader.sessions(params.path)]
    found = _decide(params, reader, [*every, *_future_sessions(prospect, every)])
    removals = [each for each in found if each.action == "remove" and each.name]
    kept = [f"keeps {each.name}: {each.reason}" for each in found if each.action == "keep" and each.name]
    return Preview(
        objects=tuple(map(_fate, removals)), lines=tuple(kept) or (f"no sessions in {params.path}",) * (not removals)
    )


def _fate(each: Decision) -> ObjectFate:
    return ObjectFate(kind="session", name=each.name, fate=Fate.DROPPED, note=each.reason)


def _prove(session: SessionFacts, prospect: Prospect) -> SessionFacts:
    """Return a session as the proofs of earlier steps will leave it."""
    place = Path(prospect.params.path, session.name)
    levels = (one.level for one in prospect.before("verify_backup") if Path(one.place) == place)
    return replace(session, verified=max((session.verified, *levels)))


def _future_sessions(prospect: Prospect, every: Sequence[SessionFacts]) -> Iterator[SessionFacts]:
    """Yield the sessions that earlier steps will make; if their place or database is unknown, any that is possible."""
    level = max((one.level for one in prospect.before("verify_backup")), default=0)
    for saved in prospect.before("pg_dump"):
        if saved.place in ("", prospect.params.path):
            for database in [saved.database] if saved.database else sorted({one.database for one in every}):
                yield SessionFacts(
                    name="",
                    state="complete",
                    taken=prospect.reader.start_time,
                    verified=level,
                    plan=prospect.reader.plan,
                    database=database,
                )


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    told: dict[str, list[dict[str, str]]] = {"keep": [], "remove": []}
    for each in facts.decisions:
        told[each.action].append({"session": each.name, "reason": each.reason})
    return {"kept": told["keep"], "removed": told["remove"]}


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    lists = (None if given.get(name, []) == [] else given[name] for name in ("also", "sessions"))
    if all(rule is None for rule in (*map(given.get, REMOVING), *lists)):
        return ()
    return (Loss(what="removal of old sessions", good=Good.SESSIONS, place=given.get("path")),)
