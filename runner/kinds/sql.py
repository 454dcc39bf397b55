"""Run SQL that changes something, in one transaction together with its journal row.

The SQL stands in the plan (`text`) or in a file under the plan's `sql/` folder (`file`). With `values` it is a
template, where `{{ name }}` is a whole literal and `{{ name|ident }}` a whole identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.kinds.base import BadParam, Output, Render, World, param
from runner.model import UNKNOWN, Action, Result, Sql
from runner.sqltext import step_sql

OUTPUTS: Mapping[str, Output] = {
    "count": Output("integer", "The number of rows that the last statement changed or returned."),
}


CHANGES = True


@dataclass(frozen=True, kw_only=True)
class Params:
    text: str = param("The SQL, one or more statements.", default="", minLength=1, examples=["analyze public.orders"])
    file: str = param(
        "A file under the plan's sql/ folder, instead of `text`.", default="", minLength=1, examples=["fix.sql"]
    )
    values: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"description": "Values by name; with them the SQL is a template: {{ name }}, {{ name|ident }}."},
    )
    connection: str = param("The connection to run it on.", default="", connection=True)
    transaction: bool = param(
        "False for what PostgreSQL refuses in a transaction, such as CREATE INDEX CONCURRENTLY or VACUUM.",
        default=True,
    )

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.file):
            raise BadParam((), "give either `text` or `file`")


def look(params: Params, world: World) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    text = step_sql(params.text, params.file, params.values, sql)
    return (Sql(text=text, connection=params.connection, transaction=params.transaction),)


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return {"count": UNKNOWN}
    return {"count": results[0].get("count", 0)}
