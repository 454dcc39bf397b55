"""Check that what a case names is there in its plan: steps, connections, questions, programs, tables, SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.cases.case import connections, default_connection
from runner.errors import PlanrunError, Problem
from runner.guard import nearest
from runner.language.case_schema import DATABASE
from runner.language.source import Document, Steps
from runner.model import Plan, Step
from runner.safesql import syntax
from runner.table_name import TableName


@dataclass
class Names:
    """The names of a plan. Each method adds what is wrong at a path of the case to `found`.

    steps: those of the plan, of its rollback and of its hooks, by path.
    """

    document: Document
    found: list[Problem]
    plan: Plan
    steps: dict[str, Step] = field(init=False)

    def __post_init__(self) -> None:
        self.steps = dict(_paths(self.plan.steps)) | dict(_paths(self.plan.rollback))
        for name, steps in self.plan.hooks.blocks():
            self.steps |= dict(_paths(steps, f"{name}."))

    def problem(self, path: Steps, message: str, hint: str = "", *, code: str = "PR1063") -> None:
        self.found.append(Problem(self.document.at(path), message, hint, code=code))

    def key_problem(self, path: Steps, message: str, hint: str = "") -> None:
        self.found.append(Problem(self.document.key_at(path), message, hint, code="PR1063"))

    def check_step(self, path: Steps, name: str) -> None:
        if name not in self.steps:
            self.problem(path, f"the plan has no step '{name}'", nearest(name, list(self.steps)))

    def check_connection(self, path: Steps, name: str) -> None:
        if name and name not in connections(self.plan):
            known = list(connections(self.plan))
            self.problem(path, f"the plan has no connection '{name}'", nearest(name, known))

    def check_place(self, path: Steps, name: str) -> None:
        """Check that it is clear which database is meant."""
        self.check_connection((*path, "on"), name)
        if not name and not default_connection(self.plan):
            known = f"it has {', '.join(connections(self.plan))}"
            self.problem(path, "`on:` is missing: the plan has several connections and no `target`", known)

    def check_table(self, path: Steps, name: str, above: Steps) -> None:
        if not name:
            self.problem(above, "`lock` needs a `table:`", "such as users, or sales.orders")
            return
        try:
            TableName.parse(name)
        except PlanrunError as exc:
            self.problem(path, exc.message, exc.hint, code=exc.code)

    def check_sql(self, path: Steps, text: str) -> None:
        """Add what PostgreSQL's parser says of a text."""
        place = self.document.find(path)
        try:
            syntax.statements(text)
        except syntax.BadSql as exc:
            self.found.append(Problem(place.inside(text, exc.offset), exc.message, exc.hint, code="PR0301"))

    def check_answers(self, given: Mapping[str, Any]) -> None:
        asking = [path for path, step in self.steps.items() if step.kind == "confirm"]
        for path in given:
            if path not in asking:
                hint = nearest(path, asking) if asking else "take `answers:` out"
                self.key_problem(("answers", path), f"no step '{path}' asks anything", hint)

    def check_commands(self, given: Mapping[str, Any]) -> None:
        running = [path for path, step in self.steps.items() if step.kind == "command"]
        for path in given:
            if path not in running:
                hint = nearest(path, running) if running else "take `commands:` out"
                self.key_problem(("commands", path), f"no step '{path}' runs a program", hint)

    def check_outcome(self, path: Steps, expect: Mapping[str, Any]) -> None:
        for name in expect.get("steps", {}):
            if name.partition("[")[0] not in self.steps and name not in self.steps:
                hint = nearest(name, list(self.steps))
                self.key_problem((*path, "steps", name), f"the plan has no step '{name}'", hint)

    def check_databases(self, expect: Mapping[str, Any]) -> None:
        """Check names of tables and the queries of what must hold in the databases."""
        if DATABASE.keys() & expect.keys() and not default_connection(self.plan):
            hint = "write `databases: {NAME: ...}` in `expect:`"
            self.key_problem(("expect",), "the plan has several connections and no `target`", hint)
        self._database(("expect",), expect)
        for name, part in expect.get("databases", {}).items():
            self.check_connection(("expect", "databases", name), name)
            self._database(("expect", "databases", name), part)

    def _database(self, path: Steps, expect: Mapping[str, Any]) -> None:
        for key in ("rows", "columns"):
            for name in expect.get(key, {}):
                self.check_table((*path, key, name), name, path)
        for key in ("tables", "missing"):
            for number, name in enumerate(expect.get(key, ())):
                self.check_table((*path, key, number), name, path)
        for number, query in enumerate(expect.get("queries", ())):
            self.check_sql((*path, "queries", number, "sql"), query["sql"])


def _paths(steps: tuple[Step, ...], prefix: str = "") -> Iterator[tuple[str, Step]]:
    for step in steps:
        yield prefix + step.id, step
        yield from _paths(step.steps, f"{prefix}{step.id}.")
