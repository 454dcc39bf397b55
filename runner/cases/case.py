"""A case as it was read: what the databases hold before, what runs, what must hold afterwards. Frozen data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import Mark
from runner.language.source import Document, Place, Steps
from runner.model import Plan


@dataclass(frozen=True, kw_only=True)
class Text:
    """SQL, and where its text begins: in the case, or in a file of its own."""

    sql: str
    place: Place = field(compare=False)

    def mark(self, offset: int = 0) -> Mark:
        """Return the place of a character, which counts from 0."""
        return self.place.inside(self.sql, offset)


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """What a database holds before the run: a dump, then SQL. like: a file or folder of pg_dump, if there is one."""

    like: Path | None = None
    texts: tuple[Text, ...] = ()

    @property
    def is_empty(self) -> bool:
        return self.like is None and not self.texts


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A failure that a case causes at a step; what the words mean: runner/language/case_schema.py.

    kind: error, connection, lock, kill or exit. times: how many attempts it meets, 0 for all of the run. hold: seconds,
    None until the step has ended. connection: "" for all of them (connection) or the default one (lock).
    """

    step: str
    kind: str
    table: str = ""
    connection: str = ""
    hold: float | None = None
    code: int = 1
    times: int = 0
    after: bool = False


@dataclass(frozen=True, kw_only=True)
class Move:
    """One thing that a case does: a command of planrun, or SQL when `verb` is "".

    path: of the move in the case, for places. expect: what must hold of this run, as the case has it.
    """

    verb: str
    path: Steps
    until: str = ""
    fault: Fault | None = None
    expect: Mapping[str, Any] = field(default_factory=dict)
    sql: Text | None = None
    connection: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case. path: of its file; its own paths start in that folder. document: the case with its places. plan: as it
    is without a server. sets, env: as `load_plan` takes them. role: "" for a superuser. postgres: 0 for any version.
    expect: what must hold after the last run. timeout: seconds.
    """

    name: str
    path: Path
    document: Document = field(repr=False)
    plan: Plan
    sets: Mapping[str, str]
    env: Mapping[str, str]
    databases: Mapping[str, Fixture]
    moves: Sequence[Move]
    expect: Mapping[str, Any]
    answers: Mapping[str, bool | str]
    commands: Mapping[str, tuple[str, ...]]
    roles: tuple[str, ...] = ()
    role: str = ""
    postgres: int = 0
    timeout: float = 120.0

    @property
    def file(self) -> str:
        return self.where.file

    @property
    def where(self) -> Mark:
        return self.document.at(("name",))

    @property
    def title(self) -> str:
        """How reports call it: the plan's name and its own."""
        return f"{self.plan.name}: {self.name}"


def connections(plan: Plan) -> tuple[str, ...]:
    """Return the names of the plan's connections; one that declares none has the connection `target`."""
    return tuple(plan.connections) or ("target",)


def default_connection(plan: Plan) -> str:
    """Return the connection that steps use by default; "" when the plan has several and none is `target`."""
    names = connections(plan)
    return "target" if "target" in names else names[0] if len(names) == 1 else ""
