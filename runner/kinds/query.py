"""Read rows for later steps, in a READ ONLY transaction.

`query` takes one SELECT; its rows are `rows`, a list of mappings by column name, for guards, `for_each` and values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.kinds.base import BadParam, Output, Render, World, param
from runner.model import UNKNOWN, Action, Query, Result
from runner.sqltext import step_sql

OUTPUTS: Mapping[str, Output] = {
    "rows": Output("array", "The rows, each a mapping of column name to value."),
    "row": Output("object", "The first row, or null when there is none."),
    "count": Output("integer", "The number of rows in `rows`."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    text: str = param("One SELECT.", default="", minLength=1, examples=["select count(*) as n from public.orders"])
    file: str = param(
        "A file under the plan's sql/ folder, instead of `text`.", default="", minLength=1, examples=["stale.sql"]
    )
    values: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"description": "Values by name; with them the SQL is a template: {{ name }}, {{ name|ident }}."},
    )
    connection: str = param("The connection to ask.", default="", connection=True)
    limit: int = param("Keep at most this many rows.", default=1000, minimum=1, maximum=100_000)

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.file):
            raise BadParam((), "give either `text` or `file`")


def look(params: Params, world: World) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    text = step_sql(params.text, params.file, params.values, sql)
    return (Query(text=text, connection=params.connection, limit=params.limit),)


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    rows = list(results[0]["rows"])
    return {"rows": rows, "row": rows[0] if rows else None, "count": len(rows)}
