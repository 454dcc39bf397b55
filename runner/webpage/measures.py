"""Rows and bytes of the tables of a run, and what was proved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.table_name import TableName
from runner.webpage.fields import Fields, number, objects, text, whole
from runner.webpage.run_facts import Done, StepFacts, output_tables

_WORK = {
    "shadow_load": "loaded", "shadow_sync": "copied", "pg_dump": "saved", "pg_restore": "restored",
    "shadow_verify": "compared",
}  # fmt: skip
"""What kinds do with the rows of tables."""

PROOFS = ("shadow_verify", "verify_backup", "verify_backup_set")
LEVELS = {
    0: "nothing", 1: "the files have the checksums of the manifest", 2: "the dumps can be read",
    3: "restored into a scratch database and compared",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The rows of a table in a step. bytes, seconds: None if the journal does not have them."""

    path: str
    work: str
    name: str
    rows: int | None
    bytes: int | None
    seconds: float | None
    checksum: str = ""

    @property
    def rows_per_second(self) -> float | None:
        return self.rows / self.seconds if self.rows and self.seconds else None

    @property
    def bytes_per_second(self) -> float | None:
        return self.bytes / self.seconds if self.bytes and self.seconds else None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a step proved. level: in words; facts: name -> value."""

    path: str
    uses: str
    state: str
    level: str
    facts: Mapping[str, str]
    message: str
    tables: tuple[Measure, ...]


def measures(step: StepFacts) -> list[Measure]:
    """Return the rows of the tables that a step worked on: as measured, otherwise as its outputs tell."""
    if step.uses not in _WORK:
        return []
    return of_tables(step)


def of_tables(step: StepFacts) -> list[Measure]:
    found = [_measure(step, one) for result in results(step.done) for one in objects(result, "measures")]
    return found or [_measure(step, one) for one in _output_tables(step)]


def results(done: Iterable[Done]) -> Iterator[Fields]:
    yield from (one.result for one in done)


def _output_tables(step: StepFacts) -> list[Fields]:
    every = [step.outputs, *objects(step.outputs, "results")]
    return [table for outputs in every for table in output_tables(outputs)]


def _measure(step: StepFacts, one: Fields) -> Measure:
    return Measure(
        path=step.path,
        work=_WORK.get(step.uses, step.uses),
        name=str(TableName(text(one, "schema"), text(one, "name"))),
        rows=whole(one, "rows"),
        bytes=whole(one, "bytes"),
        seconds=number(one, "seconds"),
        checksum=text(one, "checksum"),
    )


def proof(step: StepFacts) -> Proof | None:
    """Return what a step proved or tried to prove; None for a step that proves nothing."""
    if step.uses not in PROOFS or step.is_group:
        return None
    given = step.outputs
    facts: dict[str, Any] = {name: given[name] for name in ("session", "set", "at", "scratch") if given.get(name)}
    facts |= {name: f"{found:,}" for name in ("files", "count", "rows") if (found := whole(given, name)) is not None}
    return Proof(
        path=step.path, uses=step.uses, state=step.state, level=_level(given), message=step.message,
        facts={name: str(value) for name, value in facts.items()}, tables=tuple(of_tables(step)),
    )  # fmt: skip


def _level(given: Fields) -> str:
    level = given.get("level")
    if isinstance(level, int) and not isinstance(level, bool):
        return f"level {level}: {LEVELS.get(level, 'unknown')}"
    words = {"counts": "numbers of rows", "checksum": "numbers of rows and checksums of the content"}
    return words.get(text(given, "level"), "not recorded")


def checks(steps: Iterable[StepFacts]) -> list[tuple[str, int]]:
    """Return the steps that checked by a query that no row is in the way, each with the number of such queries."""
    found = []
    for step in steps:
        passed = sum(1 for result in results(step.done) if result.get("in_the_way") == [])
        if passed:
            found.append((step.path, passed))
    return found
