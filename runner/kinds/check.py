"""Stop unless a query returns no row; the first column of each row names what is in the way.

`check` takes one SELECT and runs it in a READ ONLY transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.kinds.base import BadParam, Output, Render, World, param
from runner.model import Action, Check, Result
from runner.sqltext import step_sql

OUTPUTS: Mapping[str, Output] = {}


@dataclass(frozen=True, kw_only=True)
class Params:
    text: str = param(
        "One SELECT that must return no row.",
        default="",
        minLength=1,
        examples=["select id from public.orders where total < 0"],
    )
    file: str = param(
        "A file under the plan's sql/ folder, instead of `text`.", default="", minLength=1, examples=["ready.sql"]
    )
    values: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"description": "Values by name; with them the SQL is a template: {{ name }}, {{ name|ident }}."},
    )
    connection: str = param("The connection to ask.", default="", connection=True)
    hint: str = param("What to do when something is in the way.", default="")

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.file):
            raise BadParam((), "give either `text` or `file`")


def look(params: Params, world: World) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    text = step_sql(params.text, params.file, params.values, sql)
    return (Check(text=text, connection=params.connection, hint=params.hint),)


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    return {}
