"""Walk a plan offline; only `diff` can show what needs the database or a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner import engine, values
from runner.errors import NotKnownYet
from runner.kinds.base import ServerFacts, StatementFacts
from runner.model import Plan, Step
from runner.planfile import templates_of
from runner.redact import Redactor
from runner.result import StepResult, step_results
from runner.run import lock_impact
from runner.run.hooks import blocks_before_run
from runner.session_facts import SessionFacts
from runner.table_name import TableName


class Offline:
    """A CatalogReader (runner.kinds.base) without databases and folders: it reads only the plan's own files."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._templates = templates_of(plan.root)
        self.start_time, self.run, self.stale = datetime.now(UTC), "", False

    def _refuse(self) -> NotKnownYet:
        return NotKnownYet("the database", hint=self._plan.command("diff"), code="PR0516")

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]:
        raise self._refuse()

    def ask(self, text: str, *, connection: str = "", limit: int = 1000, detail: bool = False) -> list[dict[str, Any]]:
        raise self._refuse()

    def server(self, connection: str = "") -> ServerFacts:
        raise self._refuse()

    def pg_dump_for(self, server_major: int) -> str:
        raise self._refuse()

    def tables_of(self, session: str) -> tuple[TableName, ...]:
        raise self._refuse()

    def sessions(self, folder: str) -> tuple[SessionFacts, ...]:
        raise self._refuse()

    def file(self, path: str) -> str:
        return path

    def explain(self, text: str, *, connection: str = "") -> tuple[StatementFacts, ...]:
        raise self._refuse()

    def sql(self, name: str, /, **given: Any) -> str:
        return self._templates.sql(name, **given)

    def text(self, template: str, given: Mapping[str, Any]) -> str:
        return self._templates.text(template, **given)

    def others(self, kind: str) -> tuple[Mapping[str, Any], ...]:
        return tuple(given for step, given in values.steps(self._plan) if step.kind == kind)

    def command(self, verb: str, *options: str) -> str:
        return self._plan.command(verb, *options)

    @property
    def plan(self) -> str:
        return self._plan.name

    @property
    def folder(self) -> Path:
        return self._plan.folder

    @property
    def root(self) -> Path:
        return self._plan.root


def render_plan(plan: Plan) -> list[StepResult]:
    """Return every planned step of the plan, its rollback and its hooks, with its outcome in an offline walk."""
    after = [step for steps, block in blocks_before_run(plan) for step in render_steps(plan, steps, block)]
    return [*render_steps(plan, plan.steps), *render_steps(plan, plan.rollback), *after]


def render_steps(plan: Plan, steps: Sequence[Step], hook: engine.HookBlock | None = None) -> list[StepResult]:
    """Return the planned steps of one block of a plan, with their outcomes in an offline walk, in order.

    hook: what the steps see, if they are hooks.
    """
    reader = Offline(plan)
    planned_steps = engine.walk(plan, steps, reader, reader.sql, hook=hook)
    found = step_results(engine.drive(planned_steps, engine.render_answer, lambda event: None))
    impacts = lock_impact.offline(found)
    return Redactor(plan.env).of([replace(step, impact=impacts.get(step.path)) for step in found])
