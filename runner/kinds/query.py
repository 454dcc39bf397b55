"""Read rows for later steps, in a READ ONLY transaction.

`query` takes one SELECT. It gives the rows as `rows`, a list of mappings by column name, which guards, `for_each` and
`${}` values can use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.kinds.base import CatalogReader, Output, Render, SqlParams, param
from runner.model import UNKNOWN, Action, Query, Result
from runner.record import dataclass

OUTPUTS: Mapping[str, Output] = {
    "rows": Output("array", "The rows, each a mapping of column name to value."),
    "row": Output("object", "The first row, or null when there is none."),
    "count": Output("integer", "The number of rows in `rows`."),
}


@dataclass(frozen=True, kw_only=True)
class Params(SqlParams):
    limit: int = param("Keep at most this many rows.", default=1000, minimum=1, maximum=100_000)


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    return (
        Query(
            text=params.render_sql(sql),
            connection=params.connection,
            limit=params.limit,
            theirs=True,
            error_detail=params.error_detail,
        ),
    )


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    rows = list(results[0]["rows"])
    return {"rows": rows, "row": rows[0] if rows else None, "count": len(rows)}
