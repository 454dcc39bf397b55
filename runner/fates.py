"""What becomes of each object that a step works on, so that a diff can tell it and an apply can hold to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of an object, in the order of a diff: what cannot be undone by itself comes first."""

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
"""How much each fate takes away; the others take away nothing."""


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


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the databases tell now of what a step will do; the run decides anew.

    objects: what becomes of each. coming: what becomes of each when a later step swaps in what this step makes.
    place: the schema or the folder that the step works in. level: the level at which it proves a backup. lines: other
    facts, one each. locks: names of relations that get an ACCESS EXCLUSIVE lock. holders: who holds a lock on one of
    them now, a line for each session.
    """

    objects: tuple[ObjectFate, ...] = ()
    coming: tuple[ObjectFate, ...] = ()
    place: str = ""
    level: int = 0
    lines: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()


def join(previews: Sequence[Preview | None]) -> Preview | None:
    """Return what the items of a `for_each` do together, None when nothing can be told of one."""
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
    )


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
