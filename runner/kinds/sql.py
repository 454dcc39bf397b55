"""Run SQL that changes something, in one transaction together with its journal row.

The SQL is in the plan (`text`) or in a file under the plan's `sql/` folder (`file`). With `values` it is a template, in
which `{{ name }}` becomes a whole literal and `{{ name|ident }}` a whole identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.kinds.base import CatalogReader, Output, Render, SqlParams, param
from runner.model import UNKNOWN, Action, Result, Sql

OUTPUTS: Mapping[str, Output] = {
    "count": Output("integer", "The number of rows that the last statement changed or returned."),
}


CHANGES = True


@dataclass(frozen=True, kw_only=True)
class Params(SqlParams):
    transaction: bool = param(
        "`false` for statements that PostgreSQL refuses in a transaction, such as CREATE INDEX CONCURRENTLY or VACUUM.",
        default=True,
    )


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    text = params.rendered(sql)
    return (
        Sql(
            text=text,
            connection=params.connection,
            transaction=params.transaction,
            theirs=True,
            error_detail=params.error_detail,
        ),
    )


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return {"count": UNKNOWN}
    return {"count": results[0].get("count", 0)}
