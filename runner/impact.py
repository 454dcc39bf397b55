"""What a step would lock, rewrite and need, statement by statement, as a diff tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.record import dataclass

MODES = (
    *("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"),
    *("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"),
)
"""The modes of locks on relations, from the weakest to the one that lets nobody else read."""


@dataclass(frozen=True, kw_only=True)
class LockedRelation:
    """A relation that a statement locks.

    name: as SQL writes it, or words such as `the tables that app.orders refers to` where no catalog was asked.
    mode: in PostgreSQL's words. certain: false where it may be locked, in this mode at most. rows, bytes: the server's
    estimate and the size on disk with indexes, None where not known. there: false where the database has none yet.
    named: the statement names it. holders: who holds a lock on it now that this one waits for, a line each.
    """

    name: str
    mode: str
    certain: bool = True
    rows: int | None = None
    bytes: int | None = None
    there: bool = True
    named: bool = True
    holders: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StatementImpact:
    """What one statement, or one action that planrun makes, locks and does under the locks.

    what: `ALTER TABLE ... ADD COLUMN`. rewrite, scan, transaction: no, perhaps or yes; transaction says whether it runs
    inside a transaction block. disk: bytes that it needs besides, None where not known. opaque: why it may lock more.
    notes: what a reviewer should know besides. new: everything that it locks was made by the same text.
    """

    what: str
    locks: tuple[LockedRelation, ...] = ()
    rewrite: str = "no"
    scan: str = "no"
    transaction: str = "yes"
    disk: int | None = None
    opaque: str = ""
    notes: tuple[str, ...] = ()

    @property
    def blocks_readers(self) -> bool:
        """Whether nobody else can read a table that is there while it runs."""
        return any(one.mode == MODES[-1] and one.certain and one.there for one in self.locks)

    @property
    def holders(self) -> tuple[str, ...]:
        """Who it would wait for now, each once."""
        return tuple(dict.fromkeys(line for one in self.locks for line in one.holders))

    @property
    def is_loud(self) -> bool:
        """Whether a reviewer must see it: readers wait, a table is written anew, or somebody is in the way."""
        return self.blocks_readers or self.rewrite == "yes" or bool(self.holders)


@dataclass(frozen=True, kw_only=True)
class StepImpact:
    """What a step would lock. seconds, locked: how long its last run took, and held locks; None where not known."""

    statements: tuple[StatementImpact, ...] = ()
    seconds: float | None = None
    locked: float | None = None


def as_json(one: StepImpact) -> dict[str, Any]:
    """Return what a step would lock as JSON data; times are in seconds."""
    return {
        "statements": [_statement_json(each) for each in one.statements],
        "last_seconds": one.seconds,
        "last_locked_seconds": one.locked,
    }


def _statement_json(one: StatementImpact) -> dict[str, Any]:
    return {
        "statement": one.what,
        "locks": [_relation_json(each) for each in one.locks],
        "rewrite": one.rewrite,
        "scan": one.scan,
        "transaction": one.transaction,
        "disk_bytes": one.disk,
        "opaque": one.opaque,
        "notes": list(one.notes),
    }


def _relation_json(one: LockedRelation) -> Mapping[str, Any]:
    return {
        "relation": one.name,
        "mode": one.mode,
        "certain": one.certain,
        "there": one.there,
        "rows": one.rows,
        "bytes": one.bytes,
        "holders": list(one.holders),
    }


def by_mode(one: StatementImpact) -> Iterator[tuple[str, list[LockedRelation]]]:
    """Yield the modes that a statement takes for certain, in its order, each with its relations."""
    for mode in dict.fromkeys(each.mode for each in one.locks if each.certain):
        yield mode, [each for each in one.locks if each.certain and each.mode == mode]
