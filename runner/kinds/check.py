"""Fail if a query returns any row; the error shows the first column of each row.

`check` takes one SELECT and runs it in a READ ONLY transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.kinds.base import CatalogReader, Output, Render, SqlParams, param
from runner.model import Action, Check, Result
from runner.record import dataclass

OUTPUTS: Mapping[str, Output] = {}


@dataclass(frozen=True, kw_only=True)
class Params(SqlParams):
    hint: str = param("What to do if the check fails; the error shows it as the hint.", default="")


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    return (
        Check(
            text=params.render_sql(sql),
            connection=params.connection,
            hint=params.hint,
            theirs=True,
            error_detail=params.error_detail,
        ),
    )


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    return {}
