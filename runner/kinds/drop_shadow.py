"""Remove what an unfinished prepare left: shadow tables, their schemas, and the key journals with their triggers.

The step removes only what runs of this plan recorded by OID and marked, and what a rollback of this plan put aside. It
never uses CASCADE. The live tables and the backup set stay as they are. `planrun abort PLAN` runs this step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.fates import ObjectFate
from runner.kinds.base import CatalogReader, LockParams, Output, Render, param
from runner.model import Action, Note, Result
from runner.record import dataclass
from runner.refresh import ledger, summary
from runner.refresh.removal import sets
from runner.refresh.removal.sets import PlannedRemoval

CHANGES = True

OUTPUTS: Mapping[str, Output] = {
    "removed": Output("array", "What was removed.", fields=("id", "what", "schema", "tables", "bytes")),
    "count": Output("integer", "How many refreshes were removed."),
    "tables": Output("integer", "The number of shadow tables in all of them."),
}


@dataclass(frozen=True, kw_only=True)
class Params(LockParams):
    schema: str = param("Only what was created for this schema; by default, for all schemas.", default="")
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    now: datetime
    sets: tuple[PlannedRemoval, ...]


def look(params: Params, reader: CatalogReader) -> Facts:
    def ask(text: str) -> list[dict[str, Any]]:
        return reader.rows(text, connection=params.connection)

    chosen = [
        one for one in sets.unfinished_refreshes(ledger.read(ask), reader.plan) if params.schema in ("", one.schema)
    ]
    return Facts(now=reader.start_time, sets=tuple(sets.plan_removal(one, ask, reader.sql) for one in chosen))


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    if not facts.sets:
        return (Note(text="no run of this plan left anything: nothing to remove", idle=True),)
    return tuple(action for one in facts.sets for action in _actions(params, one, facts.now))


def _actions(params: Params, one: PlannedRemoval, now: datetime) -> Iterator[Action]:
    yield Note(text="\n".join(one.lines(now)))
    yield from one.follow_up(params.connection)
    yield one.exchange(params.connection, params.lock_timeout, params.deadline, params.hold_timeout)


def fates(params: Params, facts: Facts) -> Iterator[ObjectFate]:
    yield from (one.fate(facts.now) for one in facts.sets)


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    kept = ("id", "what", "schema", "tables", "bytes")
    told = [summary.as_json(one.summary) for one in facts.sets]
    return {
        "removed": [{name: one[name] for name in kept} for one in told],
        "count": len(told),
        "tables": sum(one["tables"] for one in told),
    }
