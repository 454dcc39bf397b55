"""Drop the tables that an earlier swap put aside, by OID and marker, never by name pattern and never with CASCADE.

Guard this step with the work that replaces the set: `when: prepare.ok`. Dropping a table with a foreign key also locks
the table that it refers to. planrun therefore requests all locks at once for a short time, and repeats this until the
deadline. If an object outside the set depends on it, the step drops nothing, fails and names the object; with
`on_error: warn` the run continues. The step never drops the set that this run has put aside, because a rollback needs
it. It drops sets of other plans only if `set:` names one. Adopted tables are a set of the plan that adopted them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.errors import PlanrunError
from runner.fates import ObjectFate
from runner.kinds.base import CatalogReader, LockParams, Output, Render, SqlReader, param
from runner.losses import Good, Loss
from runner.model import Action, Note, Result
from runner.record import dataclass
from runner.refresh import ledger, summary
from runner.refresh.catalog.facts import Catalog
from runner.refresh.removal import sets
from runner.refresh.removal.sets import PlannedRemoval
from runner.refresh.swap import swap_plan
from runner.words import PLAN, shown_name

CHANGES = True
REFRESHES = True

OUTPUTS: Mapping[str, Output] = {
    "sets": Output("array", "The sets that were dropped.", fields=("id", "plan", "schema", "tables", "rows", "bytes")),
    "count": Output("integer", "How many sets were dropped."),
    "tables": Output("integer", "The number of tables in all these sets."),
}


@dataclass(frozen=True, kw_only=True)
class Params(LockParams):
    schema: str = param("Only this plan's set of this schema; by default, its sets of all schemas.", default="")
    set: str = param(
        "Only the set with this id, as `planrun backups list` shows it, whatever plan it belongs to.", default=""
    )
    connection: str = param("The connection to use.", default="", connection=True)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """sets: those to drop. others: those of other plans."""

    now: datetime
    sets: tuple[PlannedRemoval, ...]
    others: tuple[ledger.Refresh, ...] = ()


def look(params: Params, reader: CatalogReader) -> Facts:
    """Read the sets. Raises PlanrunError if the swap that follows is impossible: then the sets stay.

    This is not checked for a set that is named: its removal was requested, whatever is loaded.
    """

    def ask(text: str) -> list[dict[str, Any]]:
        return reader.rows(text, connection=params.connection)

    refreshes = ledger.read(ask)
    every = sets.backups(refreshes, params.schema)
    if params.set:
        chosen, others = [one for one in every if one.id == params.set], []
        if not chosen:
            hint = f"planrun backups list {PLAN} shows the existing ones"
            raise PlanrunError(f"there is no backup set {params.set}", hint=hint, code="PR0605")
    else:
        chosen = [one for one in every if one.plan == reader.plan and one.id != reader.run]
        others = [one for one in every if one.plan != reader.plan]
        _refuse_no_use(params, reader, refreshes, chosen)
    removals = tuple(sets.plan_removal(one, ask, reader.sql) for one in chosen)
    return Facts(now=reader.start_time, sets=removals, others=tuple(others))


def _refuse_no_use(
    params: Params, reader: CatalogReader, refreshes: Sequence[ledger.Refresh], chosen: Sequence[ledger.Refresh]
) -> None:
    if chosen:
        catalog = Catalog(reader, params.connection, reader.server(params.connection).major)
        swap_plan.refuse_no_use(catalog, refreshes, reader.plan, {one.schema for one in chosen})


def render(params: Params, facts: Facts, sql: Render) -> tuple[Action, ...]:
    left = [Note(text=f"left alone: the set {one.id} of plan {shown_name('', one.plan)}") for one in facts.others]
    if not facts.sets:
        where = f" of schema {shown_name('', params.schema)}" if params.schema else ""
        return (Note(text=f"no backup set{where} of this plan: nothing to drop", idle=True), *left)
    return (*(action for one in facts.sets for action in _actions(params, one, facts.now)), *left)


def _actions(params: Params, one: PlannedRemoval, now: datetime) -> Iterator[Action]:
    yield Note(text="\n".join(one.lines(now, "kept unless the guard of this step is true")))
    yield from one.follow_up(params.connection)
    yield one.exchange(params.connection, params.lock_timeout, params.deadline, params.hold_timeout)


def fates(params: Params, facts: Facts) -> Iterator[ObjectFate]:
    yield from (one.fate(facts.now) for one in facts.sets)


def give(params: Params, facts: Facts, results: Sequence[Result | None]) -> Mapping[str, Any]:
    kept = ("id", "plan", "schema", "tables", "rows", "bytes")
    told = [summary.as_json(one.summary) for one in facts.sets]
    return {
        "sets": [{name: one[name] for name in kept} for one in told],
        "count": len(told),
        "tables": sum(one["tables"] for one in told),
    }


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    """A set that is named is dropped whatever is loaded, because its removal was requested."""
    if given.get("set", "") != "":
        return ()
    return (Loss(what="drop of the backup set", good=Good.SETS, place=given.get("connection", "")),)
