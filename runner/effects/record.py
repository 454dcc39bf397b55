"""What a plan does, as far as it is known: the record that two versions of a plan are compared by. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.fates import ObjectFate


@dataclass(frozen=True, kw_only=True)
class StepEffects:
    """One step of a kind, or a group. path: as in a run, without `[0]`; the steps of `rollback:` have `of_rollback`.

    settings: what its author wrote (`when`, `on_error`, `with.tables` ...), one line each. statements: the SQL that it
    sends, one statement each. actions: its other actions, one line each. losses: what it takes away for good. verdict,
    chain: by which guards it comes only after what protects that, or why not. locks: lock mode and relation of each
    statement. objects: what becomes of each object, where databases were asked. unknown: why its SQL is not known;
    `statements` is then the text of its template.
    """

    path: str
    of_rollback: bool = False
    uses: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    verdict: str = ""
    chain: str = ""
    locks: tuple[str, ...] = ()
    objects: tuple[ObjectFate, ...] = ()
    unknown: str = ""

    @property
    def key(self) -> tuple[bool, str]:
        return self.of_rollback, self.path

    @property
    def parent(self) -> tuple[bool, str]:
        """The group that it is in."""
        return self.of_rollback, self.path.rpartition(".")[0]

    @property
    def label(self) -> str:
        return f"rollback {self.path}" if self.of_rollback else self.path


@dataclass(frozen=True, kw_only=True)
class PlanEffects:
    """A whole plan. settings: of the plan itself (`param x`, `connection y`, `protected`, `journal`), one line each.

    files: a digest of each file that it is made of, by the path from its root. steps: groups before what is in them.
    asked: whether databases said what becomes of objects. problems: why the plan could not be read, or what is wrong.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepEffects, ...] = ()
    asked: bool = False
    problems: tuple[str, ...] = ()
