"""What a command of `planrun backups` works on: a backup set by its name, or a plan of single steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.model import Plan, Step
    from runner.refresh.summary import Standing


def backup_sets(plan: Plan) -> list[Standing]:
    """Return the backup sets in the plan's database, oldest first; without a query if no step swaps."""
    from runner import api
    from runner.refresh.removal import sets

    standings = api.refreshes(plan, env=os.environ)
    kept = {one.id for one in sets.backups(one.refresh for one in standings)}
    return [one for one in standings if one.refresh.id in kept]


def find_set(plan: Plan, name: str) -> Standing | None:
    """Return the set that a name means; `latest` means a session if the plan makes sessions."""
    from runner.backup import catalog

    every = backup_sets(plan)
    if name == "latest":
        return every[-1] if every and not catalog.folders(plan) else None
    exact = [one for one in every if one.refresh.id == name]
    found = exact or [one for one in every if one.refresh.id.startswith(name)]
    return found[0] if len(found) == 1 else None


def plan_of_steps(plan: Plan, verb: str, kind: str, every: Sequence[Mapping[str, Any]]) -> Plan:
    """Return a plan of one step of a kind for each of the values, with a name of its own.

    Its runs do not belong to the plan, and --resume does not mean them.
    """
    from runner.errors import Mark
    from runner.model import Step

    def step(number: int, values: Mapping[str, Any]) -> Step:
        name = verb if len(every) == 1 else f"{verb}_{number}"
        return Step(id=name, where=Mark(plan.file, 1, 1), kind=kind, values=dict(values))

    steps = tuple(step(number, values) for number, values in enumerate(every, 1))
    from runner.model import Hooks

    return replace(plan, name=f"{plan.name}_{verb}", steps=steps, rollback=(), hooks=Hooks(), notify=())


def verb_plans(plan: Plan) -> list[Plan]:
    """Return a plan without steps for each verb that runs, with which its runs can be found."""
    return [replace(plan_of_steps(plan, verb, "", []), journal=journal_in_file(plan)) for verb in _RUN]


_RUN = ("adopt", "copy", "prune", "restore", "verify")


def journal_in_file(plan: Plan) -> str:
    """Return the `journal:` of a run that does not change the database, so that it works without one."""
    return "file" if plan.journal in ("", "database") else plan.journal


def environment_of(plan: Plan) -> dict[str, str]:
    """Return the environment without the URLs of connections that a plan does not have.

    A run refuses such a URL, as it could mean another database than the one it changes. These commands change none.
    """
    from runner.database.connections import OWN_VARIABLE

    mine = {f"PLANRUN_{name.upper()}_URL" for name in plan.connections}
    return {name: text for name, text in os.environ.items() if name in mine or not OWN_VARIABLE.fullmatch(name)}
