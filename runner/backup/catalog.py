"""The sessions that belong to a plan: where its steps put them, which one a name means, which ones its rules remove."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from runner.backup import sessions
from runner.errors import UsageError
from runner.kinds import retention
from runner.kinds.base import SessionFacts, build, newest, refuse_damaged
from runner.model import Plan
from runner.names import is_session_name
from runner.units import absolute
from runner.values import has_unknown, steps

_FOLDER = {"pg_dump": "to", "retention": "path", "pg_restore": "from"}


def folders(plan: Plan) -> tuple[Path, ...]:
    """Return the folders that the plan's steps write sessions to, as far as they can be known without a run."""
    found: dict[Path, None] = {}
    for step, values in steps(plan):
        word = _FOLDER.get(step.kind)
        value = values.get(word) if word else None
        if isinstance(value, str) and value and (step.kind != "pg_restore" or not is_session_name(Path(value).name)):
            found.setdefault(Path(absolute(value, plan.folder)))
    return tuple(found)


def list_sessions(plan: Plan) -> list[tuple[Path, SessionFacts]]:
    """Return every session of the plan with its folder, oldest first in each. Raises UsageError when it makes none."""
    places = folders(plan)
    if not places:
        raise UsageError(f"{plan.file} has no step that makes backups", hint="name a session by its folder")
    return [(place, facts) for place in places for facts in sessions.facts(place) if facts.state != "foreign"]


def find(plan: Plan, name: str, *, good: bool = False) -> Path:
    """Return the folder of a session: `latest`, its name, the beginning of one, or a path.

    good: `latest` is the newest that is complete, however old. Raises UsageError naming the candidates, VerifyError
    when the newest one is of the future.
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
            raise UsageError("there is no complete session yet", where=where, hint=plan.command("apply"))
        chosen = newest([facts for _, facts in every], datetime.now(UTC), where, good=good)
        return next(place for place, facts in every if facts is chosen) / chosen.name
    exact = [(place, facts) for place, facts in every if facts.name == name]
    beginning = [(p, f) for p, f in complete if f.name.startswith(name) or f.name.startswith(f"backup_{name}")]
    found = exact or beginning
    if len(found) != 1:
        problem = f"{name} could be any of {len(found)} sessions" if found else f"there is no session {name}"
        names = ", ".join(facts.name for _, facts in (found or complete)[-10:])
        raise UsageError(problem, where=where, hint=f"there are: {names}" if names else "planrun backups list PLAN")
    return found[0][0] / found[0][1].name


def find_good(plan: Plan, name: str, *, good: bool = False) -> Path:
    """Return the session to restore, as `find` does. Raises VerifyError when it is the newest and damaged."""
    if _is_path(name):
        return find(plan, name)
    every = list_sessions(plan)
    folder = _find_among(every, plan, name, good=good)
    if name == "latest":
        sessions_there = [facts for _, facts in every]
        chosen = next(facts for facts in sessions_there if facts.name == folder.name)
        refuse_damaged(chosen, sessions_there, datetime.now(UTC), str(folder.parent))
    return folder


def to_prune(plan: Plan, now: datetime) -> list[tuple[Path, retention.Decision]]:
    """Return what the plan's retention steps decide about every session. Raises UsageError when it has none."""
    found: dict[Path, dict[str, retention.Decision]] = {}
    ruled = [values for step, values in steps(plan) if step.kind == "retention" and not has_unknown(values)]
    for values in ruled:
        rules = build(retention.Params, values, plan.folder)
        if rules.keep_last or rules.keep_within is not None or rules.retention_days is not None:
            place = found.setdefault(Path(rules.path), {})
            for decision in retention.decide(sessions.facts(Path(rules.path)), rules, now, plan.name):
                earlier = place.setdefault(decision.name, decision)
                if earlier.action == "remove":  # of two rules, the one that keeps wins
                    place[decision.name] = decision
    if not ruled:
        raise UsageError(
            f"{plan.file} has no retention step",
            hint="to drop a backup set, name it: planrun backups list PLAN; for sessions add `retention_days:`",
        )
    return [(path, decision) for path, decisions in found.items() for decision in decisions.values()]
