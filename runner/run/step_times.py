"""How long the steps of a plan took when they last succeeded, and held their locks, as the journal tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from runner.errors import PlanrunError
from runner.journal.database import DatabaseJournal
from runner.journal.records import Journal, Record
from runner.model import State
from runner.refresh import planrun_schema


class StepTime(NamedTuple):
    """Seconds that a step took; locked: that it held locks on live tables, None where it does not say so."""

    seconds: float
    locked: float | None = None


class Reader(Protocol):
    """What is needed of a CatalogReader."""

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]: ...
    def sql(self, name: str, /, **given: Any) -> str: ...


def step_times(journal: Journal, reader: Reader, plan: str, mode: str) -> Mapping[str, StepTime]:
    """Return the times by path. mode: apply or rollback. Empty for a role that may not read the journal."""
    modes = ("apply", "resume") if mode == "apply" else (mode,)
    try:
        if isinstance(journal, DatabaseJournal):
            rows: Iterable[Mapping[str, Any]] = _rows(journal, reader, plan, modes)
        else:
            rows = _outcomes(journal.records(), plan, modes)
        return {str(row["path"]): _time(row) for row in rows if isinstance(row["seconds"], int | float)}
    except PlanrunError:
        return {}


def _rows(journal: DatabaseJournal, reader: Reader, plan: str, modes: Sequence[str]) -> list[dict[str, Any]]:
    """Read by the connection that the diff has open."""
    ask = partial(reader.rows, connection=journal.name)
    if not planrun_schema.check(ask, looking=True).journal:
        return []
    return ask(reader.sql("planrun/newest_outcomes.sql.j2", plan=plan, modes=list(modes)))


def _outcomes(records: Iterable[Record], plan: str, modes: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    runs: set[str] = set()
    found: dict[str, Mapping[str, Any]] = {}
    for record in records:
        match record.get("event"):
            case "run_began" if record.get("plan") == plan and record.get("mode") in modes:
                runs.add(str(record.get("run")))
            case "outcome" if record.get("run") in runs and record.get("state") in (State.OK, State.WARNED):
                outputs = record.get("outputs")
                locked = outputs.get("locked_ms") if isinstance(outputs, Mapping) else None
                path = str(record.get("path"))
                found[path] = {"path": path, "seconds": record.get("seconds"), "locked_ms": locked}
    yield from found.values()


def _time(row: Mapping[str, Any]) -> StepTime:
    locked = row["locked_ms"]
    return StepTime(float(row["seconds"]), locked / 1000 if isinstance(locked, int | float) else None)
