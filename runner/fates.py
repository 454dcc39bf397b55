"""What becomes of each object that a step works on: a diff shows it, and an apply must not exceed it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import IntEnum, StrEnum
from typing import Any

from runner.record import dataclass
from runner.table_name import TableName


class Fate(StrEnum):
    """What becomes of an object, in the order of a diff: fates that cannot be undone come first."""

    LOST = "lost"
    DROPPED = "dropped"
    REPLACED = "replaced"
    CHANGED = "changed"
    ADDED = "added"
    KEPT = "keeps its rows"
    REBUILT = "rebuilt"
    REFILLED = "filled again"
    REPOINTED = "re-pointed"
    CARRIED = "carried"
    SAVED = "saved"
    LEFT = "left alone"


_HARM = {Fate.LOST: 4, Fate.DROPPED: 3, Fate.REPLACED: 2, Fate.CHANGED: 1}
"""How much harm each fate does; the others do none."""


@dataclass(frozen=True, kw_only=True)
class ObjectFate:
    """What becomes of one object. `name` is as SQL writes it, with its table where it belongs to one.

    rows: how many there are now; rows_after: afterwards; None: not known or not a table. bytes: its size on disk.
    gains, loses: column definitions. note: what else a reviewer should know. exact: whether the rows were counted.
    """

    kind: str
    name: str
    fate: Fate
    rows: int | None = None
    rows_after: int | None = None
    bytes: int | None = None
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    note: str = ""
    exact: bool = True

    @property
    def what(self) -> str:
        return f"{self.kind} {self.name}"


class Depth(IntEnum):
    """How much of a relation a step depends on: its row type, all its own properties, or also its dependents."""

    SHAPE = 1
    OWN = 2
    DEPENDENTS = 3


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Relations of one connection that the planned actions depend on, so that a saved diff is stale when they
    change."""

    connection: str
    names: tuple[TableName, ...]
    depth: Depth


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a step would do, as far as the databases show now; the run decides again.

    objects: what becomes of each. coming: what becomes of each when a later step swaps in what this step makes.
    place: the schema or the folder that the step works in. database: the one that it saves, "" if unknown. level: the
    level at which it proves a backup. lines: other facts, one per line. locks: names of relations that get an ACCESS
    EXCLUSIVE lock. holders: who holds a lock on one of them now, a line for each connection. basis: what the step
    depends on.
    """

    objects: tuple[ObjectFate, ...] = ()
    coming: tuple[ObjectFate, ...] = ()
    place: str = ""
    database: str = ""
    level: int = 0
    lines: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    basis: tuple[Basis, ...] = ()


_RELATIONS = {"table", "view", "materialized view", "sequence", "foreign table", "index"}


def with_basis(preview: Preview, connection: str) -> Preview:
    """Return the preview with the relations of its objects as its basis, including their dependents if the step
    acts."""
    every = (*preview.objects, *preview.coming)
    names = dict.fromkeys(TableName.parse(one.name) for one in every if one.kind in _RELATIONS)
    acts = any(one.fate not in (Fate.SAVED, Fate.LEFT) for one in every)
    own = Basis(connection=connection, names=tuple(names), depth=Depth.DEPENDENTS if acts else Depth.OWN)
    return replace(preview, basis=(*preview.basis, own)) if names else preview


def join(previews: Sequence[Preview | None]) -> Preview | None:
    """Return the common preview of the items of a `for_each`, None if there is none for one of them."""
    known = [one for one in previews if one is not None]
    if len(known) < len(previews) or not known:
        return None
    return Preview(
        objects=tuple(each for one in known for each in one.objects),
        coming=tuple(each for one in known for each in one.coming),
        place=known[0].place,
        level=min(one.level for one in known),
        lines=tuple(dict.fromkeys(each for one in known for each in one.lines)),
        locks=tuple(dict.fromkeys(each for one in known for each in one.locks)),
        holders=tuple(dict.fromkeys(each for one in known for each in one.holders)),
        basis=tuple(each for one in known for each in one.basis),
    )


def to_json(preview: Preview | None) -> dict[str, Any]:
    """Return what a journal keeps of a preview: `objects`, `coming`, and `locks`, each only if there are any."""
    if preview is None:
        return {}
    found = {
        "objects": [object_json(one) for one in preview.objects],
        "coming": [object_json(one) for one in preview.coming],
        "locks": list(preview.locks),
    }
    return {name: value for name, value in found.items() if value}


def object_json(one: ObjectFate) -> dict[str, Any]:
    return {
        "kind": one.kind, "name": one.name, "fate": one.fate.value, "rows": one.rows, "rows_after": one.rows_after,
        "rows_exact": one.exact, "bytes": one.bytes, "gains": list(one.gains), "loses": list(one.loses),
        "note": one.note,
    }  # fmt: skip


def with_details(now: Preview | None, diff: Preview | None) -> Preview | None:
    """Return what a run finds of a step, with the rows, columns and locks that the diff told before it.

    An object that has another fate now than in the diff stays as the run found it.
    """
    if now is None or diff is None:
        return now or diff
    told = {(one.what, one.fate): one for one in diff.objects}
    objects = tuple(told.get((one.what, one.fate), one) for one in now.objects) or diff.objects
    return replace(diff, objects=objects, coming=now.coming or diff.coming, locks=now.locks or diff.locks)


def worse(before: Iterable[ObjectFate], now: Iterable[ObjectFate]) -> Iterator[str]:
    """Yield a line for each object that loses more now than `before` said; an object not named there loses nothing.

    >>> view = ObjectFate(kind="view", name="v", fate=Fate.REBUILT)
    >>> list(worse([view], [ObjectFate(kind="view", name="v", fate=Fate.LOST)]))
    ['view v: rebuilt before, lost now']
    """
    said = {one.what: one.fate for one in before}
    for one in now:
        then = said.get(one.what)
        if _HARM.get(one.fate, 0) > _HARM.get(then, 0) if then else one.fate in _HARM:
            yield f"{one.what}: {then or 'not mentioned'} before, {one.fate} now"
