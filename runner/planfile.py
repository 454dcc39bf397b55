"""Open a plan file for a command: load it, check it, and parse its SQL with PostgreSQL's own parser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from runner import resources
from runner.errors import PlanError, Problem
from runner.language.compose import may_read
from runner.language.load import check_template, is_template, load
from runner.language.source import Document
from runner.model import Plan, Step
from runner.protection.verdicts import StepVerdict, verdicts
from runner.safesql.destruction import sql_effects
from runner.safesql.sqlcheck import check_step_sql
from runner.safesql.templates import Templates


def open_plan(
    file: Path,
    *,
    sets: Mapping[str, str] | Sequence[str] = (),
    env: Mapping[str, str],
    offline: bool = False,
    tells: bool = True,
) -> Plan:
    """Return the plan of a file. Raises PlanError with all problems of YAML, schema, names, guards and SQL at once.

    tells: whether runs tell the recipients of the plan, so that their variables must be set.
    """
    of_root = cache(templates_of)

    def check(step: Step, document: Document, root: Path) -> Iterable[Problem]:
        return check_step_sql(step.kind, document.data, document.place, of_root(root))

    return load(file, sets=sets, env=env, offline=offline, sql_check=check, template_check=_check_message, tells=tells)


def _check_message(text: str, name: str) -> Iterable[Problem]:
    from runner.notify.message import template_problems

    return template_problems(text, name)


def proofs(plan: Plan) -> tuple[StepVerdict, ...]:
    """Return the verdict on each step that removes something for good."""
    templates = templates_of(plan.root)
    return verdicts(plan, lambda given: sql_effects(given, templates))


def template_problems(file: Path, env: Mapping[str, str]) -> tuple[Problem, ...] | None:
    """Return the problems of a template of steps; None for any other file."""
    if not is_template(file):
        return None
    of_root = cache(templates_of)

    def check(step: Step, document: Document, root: Path) -> Iterable[Problem]:
        return check_step_sql(step.kind, document.data, document.place, of_root(root))

    return check_template(file, env=env, sql_check=check)


def prove(plan: Plan) -> tuple[StepVerdict, ...]:
    """Return how each step that removes something for good is protected. Raises PlanError if one is not."""
    found = proofs(plan)
    if problems := [one.problem for one in found if one.problem]:
        raise PlanError(*dict.fromkeys(problems))
    return found


def templates_of(root: Path) -> Templates:
    """Return the templates that a plan with this root folder can use: its own, and those of the kinds.

    It has none of its own when its `sql/` is a link that leads out of the root, or into `.git`.
    """
    own = root / "sql"
    return Templates((own, resources.SQL) if may_read(own.resolve(), root.resolve()) else (resources.SQL,))
