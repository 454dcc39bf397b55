"""The sessions of a plan: the folders of its steps, the session that a name means, and the retention rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.backup import sessions
from runner.errors import UsageError
from runner.kinds import retention
from runner.kinds.base import build
from runner.model import Plan
from runner.names import is_session_name
from runner.retention import PERIODS
from runner.session_facts import SessionFacts, newest, refuse_damaged
from runner.units import absolute
from runner.values import has_unknown, steps
from runner.words import PLAN

_FOLDER = {"pg_dump": "to", "retention": "path", "pg_restore": "from"}


def folders(plan: Plan) -> tuple[Path, ...]:
    """Return the folders that the plan's steps write sessions to, as far as they are known without a run."""
    found: dict[Path, None] = {}
    for step, values in steps(plan):
        word = _FOLDER.get(step.kind)
        value = values.get(word) if word else None
        if isinstance(value, str) and value and (step.kind != "pg_restore" or not is_session_name(Path(value).name)):
            found.setdefault(Path(absolute(value, plan.folder)))
    return tuple(found)


def list_sessions(plan: Plan) -> list[tuple[Path, SessionFacts]]:
    """Return every session of the plan with its folder, oldest first in each. Raises UsageError if it makes none."""
    places = folders(plan)
    if not places:
        raise UsageError(
            f"{plan.file} has no step that makes backups", hint="name a session by its folder", code="PR0603"
        )
    return [(place, facts) for place in places for facts in sessions.facts(place) if facts.state != "foreign"]


def find(plan: Plan, name: str, *, good: bool = False) -> Path:
    """Return the folder of a session: `latest`, its name, the beginning of one, or a path.

    good: `latest` is the newest complete one, however old. Raises UsageError with the candidates, VerifyError if the
    newest one has a date in the future.
    """
    if _is_path(name):
        return Path(name).expanduser().absolute()
    return _find_among(list_sessions(plan), plan, name, good=good)


def _is_path(name: str) -> bool:
    return "/" in name or name in (".", "..")


def _find_among(every: Sequence[tuple[Path, SessionFacts]], plan: Plan, name: str, *, good: bool) -> Path:
    complete = [(place, facts) for place, facts in every if facts.state == "complete"]
    where = ", ".join(map(str, folders(plan)))
    if name == "latest":
        if not any(facts.state in ("complete", "damaged") for _, facts in every):
            raise UsageError("there is no complete session yet", where=where, hint=plan.command("apply"), code="PR0714")
        chosen = newest([facts for _, facts in every], datetime.now(UTC), where, good=good)
        return next(place for place, facts in every if facts is chosen) / chosen.name
    exact = [(place, facts) for place, facts in every if facts.name == name]
    beginning = [(p, f) for p, f in complete if f.name.startswith(name) or f.name.startswith(f"backup_{name}")]
    found = exact or beginning
    if len(found) != 1:
        problem = f"{name} could be any of {len(found)} sessions" if found else f"there is no session {name}"
        names = ", ".join(facts.name for _, facts in (found or complete)[-10:])
        raise UsageError(
            problem, where=where, hint=f"there are: {names}" if names else f"planrun backups list {PLAN}", code="PR0605"
        )
    return found[0][0] / found[0][1].name


def find_before(plan: Plan, moment: datetime, *, good: bool = False) -> Path:
    """Return the newest session that was taken before a moment.

    good: the newest complete one, however old. Raises UsageError if there is none, VerifyError if it is damaged.
    """
    every = [(place, facts) for place, facts in list_sessions(plan) if facts.taken and facts.taken < moment]
    found = [facts for _, facts in every if facts.state in ("complete", *(() if good else ("damaged",)))]
    where = ", ".join(map(str, folders(plan)))
    if not found:
        when = moment.strftime("%Y-%m-%d %H:%M:%S UTC")
        raise UsageError(
            f"no session was taken before {when}", where=where, hint=f"planrun backups list {PLAN}", code="PR0605"
        )
    chosen = newest(found, datetime.now(UTC), where, good=good)
    refuse_damaged(chosen, found, datetime.now(UTC), where)
    return next(place for place, facts in every if facts is chosen) / chosen.name


def find_good(plan: Plan, name: str, *, good: bool = False) -> Path:
    """Return the session to restore, as `find` does. Raises VerifyError if it is the newest and damaged."""
    if _is_path(name):
        return find(plan, name)
    every = list_sessions(plan)
    folder = _find_among(every, plan, name, good=good)
    if name == "latest":
        sessions_there = [facts for _, facts in every]
        chosen = next(facts for facts in sessions_there if facts.name == folder.name)
        refuse_damaged(chosen, sessions_there, datetime.now(UTC), str(folder.parent))
    return folder


def rules(plan: Plan) -> list[dict[str, Any]]:
    """Return the values of the plan's retention steps, one for each folder. Raises UsageError when it has none.

    Several for one folder become one: what any of them keeps stays.
    """
    ruled = [values for step, values in steps(plan) if step.kind == "retention" and not has_unknown(values)]
    if not ruled:
        raise UsageError(
            f"{plan.file} has no retention step",
            hint=f"to drop a backup set, name it: planrun backups list {PLAN}; for sessions add `retention_days:`",
            code="PR0603",
        )
    by_folder: dict[str, list[retention.Params]] = {}
    for values in ruled:
        one = build(retention.Params, values, plan.folder)
        by_folder.setdefault(one.path, []).extend(retention.every_rule(one, plan.folder))
    return [{"path": path, "plan": plan.name, **_keep_most(every)} for path, every in by_folder.items()]


def _keep_most(every: Sequence[retention.Params]) -> dict[str, Any]:
    """Return one rule that keeps what any of these rules keeps, if they count the same sessions as good; else use
    `also`.

    A rule with `min_verified` counts other sessions as good than a rule without: merged, they would keep fewer.
    """
    ruled = [one for one in every if one.rules.removes] or every[:1]
    levels = dict.fromkeys(one.min_verified for one in ruled)
    first, *others = (_keep_most_of(level, [one for one in ruled if one.min_verified == level]) for level in levels)
    return {**first, "also": others}


def _keep_most_of(level: int, every: Sequence[retention.Params]) -> dict[str, Any]:
    spans = [one.keep_within for one in every if one.keep_within is not None]
    spans += [one.retention_days * 86400 for one in every if one.retention_days is not None]
    counts = ("keep_last", "keep_verified_last", *PERIODS)
    most = {name: max((n for one in every if (n := getattr(one, name)) is not None), default=None) for name in counts}
    return {**most, "keep_within": max(spans, default=None), "min_verified": level}
