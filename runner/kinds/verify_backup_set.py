"""Prove a backup set: every table exists, is the one that was put aside, and can be read to its end.

If planrun counted the rows when it loaded them, it also compares their number and their content. If the set fails, the
run ends with exit code 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from runner.errors import PlanrunError
from runner.kinds.base import CatalogReader, Output, Render, param
from runner.model import UNKNOWN, Action, Compare, Result
from runner.record import dataclass
from runner.refresh import ledger
from runner.refresh.removal import sets
from runner.words import PLAN

OUTPUTS: Mapping[str, Output] = {
    "set": Output("string", "The set that was proved."),
    "tables": Output("array", "The tables of the set, by their current names.", fields=("schema", "name", "rows")),
    "count": Output("integer", "The number of tables."),
    "rows": Output("integer", "The number of rows in all tables."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    set: str = param(
        "The set with this id, as `planrun backups list` shows it; by default, the plan's newest set.", default=""
    )
    connection: str = param("The connection to the database of the set.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    set: str
    compare: Compare


def look(params: Params, reader: CatalogReader) -> Facts:
    ask = partial(reader.rows, connection=params.connection)
    every = sets.backups(ledger.read(ask, looking=True))
    if params.set:
        chosen = [one for one in every if one.id == params.set]
    else:
        chosen = [one for one in every if one.plan == reader.plan][-1:]
    if not chosen:
        what = f"backup set {params.set}" if params.set else "backup set of this plan"
        raise PlanrunError(
            f"there is no {what}", hint=f"planrun backups list {PLAN} shows the existing ones", code="PR0605"
        )
    return Facts(set=chosen[0].id, compare=sets.proof(chosen[0], params.connection, ask, reader.sql))


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    return (facts.compare,)


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    found = results[0] if results else None
    if found is None:
        return {"set": facts.set, "tables": UNKNOWN, "count": len(facts.compare.proofs), "rows": UNKNOWN}
    return {"set": facts.set, **{name: found[name] for name in ("tables", "count", "rows")}}
