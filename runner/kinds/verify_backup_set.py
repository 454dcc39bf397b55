"""Prove a backup set: every table is there, is the one that was put aside, and is read to its end.

Where the rows were counted when they were loaded, their number and their content are compared, too. A set that does not
hold makes the run end with exit code 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from runner.errors import PlanrunError
from runner.kinds.base import CatalogReader, Output, Render, param
from runner.model import UNKNOWN, Action, Compare, Result
from runner.refresh import ledger
from runner.refresh.removal import sets

OUTPUTS: Mapping[str, Output] = {
    "set": Output("string", "The set that was proved."),
    "tables": Output("array", "Its tables, as they are called now.", fields=("schema", "name", "rows")),
    "count": Output("integer", "How many there are."),
    "rows": Output("integer", "Rows of all of them."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    set: str = param(
        "The set of this id, as `planrun backups list` shows it; the plan's newest when not given.", default=""
    )
    connection: str = param("The connection of the database that it is in.", default="", connection=True)


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
        raise PlanrunError(f"there is no {what}", hint="planrun backups list PLAN shows what is there")
    return Facts(set=chosen[0].id, compare=sets.proof(chosen[0], params.connection, ask, reader.sql))


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    return (facts.compare,)


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    found = results[0] if results else None
    if found is None:
        return {"set": facts.set, "tables": UNKNOWN, "count": len(facts.compare.proofs), "rows": UNKNOWN}
    return {"set": facts.set, **{name: found[name] for name in ("tables", "count", "rows")}}
