"""The SQL of a plan's `sql` steps as it will run, each text with the places that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from runner import values
from runner.errors import Mark, Problem
from runner.language.load import load
from runner.language.source import Document
from runner.model import Plan, Step
from runner.planfile import templates_of
from runner.safesql.sqlcheck import check_step_sql, step_texts
from runner.safesql.templates import Templates


@dataclass(frozen=True)
class StepSql:
    """One SQL text of a step. place: where the character at an offset stands. step: the id of the step.

    transaction: whether the step runs it in one transaction. A template whose `{% if %}` only the run decides gives two
    texts, one for each way.
    """

    step: str
    text: str
    place: Callable[[int], Mark]
    transaction: bool


def read_sql(file: Path, sets: Mapping[str, str] | Sequence[str], env: Mapping[str, str]) -> tuple[Plan, list[StepSql]]:
    """Return a plan, and its SQL and that of its templates, in order. Raises PlanError as validate does."""
    seen: list[tuple[Step, Document, Templates]] = []
    of_root = cache(templates_of)

    def check(step: Step, document: Document, root: Path) -> Iterable[Problem]:
        if step.kind == "sql":
            seen.append((step, document, of_root(root)))
        return check_step_sql(step.kind, document.data, document.place, of_root(root))

    plan = load(file, sets=sets, env=env, offline=True, sql_check=check)
    known = {id(step): given for step, given in values.steps(plan)}
    return plan, [text for one in seen for text in _texts(*one, known.get(id(one[0]), one[1].data))]


def _texts(step: Step, document: Document, templates: Templates, given: Mapping[str, Any]) -> Iterator[StepSql]:
    """Yield the texts of a step. given: its `with:`, with the values of params where they are known."""
    data = {**document.data, "values": given.get("values", {})}
    for text, place in step_texts(data, document.place, templates):
        yield StepSql(step.id, text, place, data.get("transaction") is not False)
