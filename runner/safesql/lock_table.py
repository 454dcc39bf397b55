"""Lock modes, and what PostgreSQL locks for each operation: the table in lock_table.toml, as records."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from runner.record import dataclass

TABLE = Path(__file__).with_suffix(".toml")
DOCS = "https://www.postgresql.org/docs/current/{}.html"
OLDEST, NEWEST = 14, 18
"""The majors of PostgreSQL that the table is for. Later ones are taken for NEWEST."""


class LockMode(StrEnum):
    """A mode of a lock on a relation, from the weakest to the strongest (PostgreSQL docs, table 13.2)."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        """The place in the order of strength: 1 for ACCESS SHARE, 8 for ACCESS EXCLUSIVE."""
        return _ORDER.index(self) + 1

    @classmethod
    def of_strength(cls, strength: int) -> LockMode:
        return _ORDER[strength - 1]

    @classmethod
    def of_server(cls, name: str) -> LockMode:
        """Return the mode that pg_locks calls so.

        >>> LockMode.of_server("ShareRowExclusiveLock")
        <LockMode.SHARE_ROW_EXCLUSIVE: 'SHARE ROW EXCLUSIVE'>
        """
        return next(mode for mode in cls if mode.value.title().replace(" ", "") + "Lock" == name)

    @property
    def server_name(self) -> str:
        """The name in pg_locks, such as AccessShareLock."""
        return self.value.title().replace(" ", "") + "Lock"

    def conflicts(self) -> tuple[LockMode, ...]:
        """Return the modes that another transaction cannot have at the same time.

        >>> [str(mode) for mode in LockMode.ROW_SHARE.conflicts()]
        ['EXCLUSIVE', 'ACCESS EXCLUSIVE']
        """
        return tuple(_ORDER[number] for number, hit in enumerate(_CONFLICTS[self.strength - 1]) if hit == "x")

    @property
    def blocks(self) -> str:
        """Whom the lock makes wait: `reads and writes`, `writes`, or "" where neither."""
        if self is LockMode.ACCESS_EXCLUSIVE:
            return "reads and writes"
        return "writes" if LockMode.ROW_EXCLUSIVE in self.conflicts() else ""


_ORDER = tuple(LockMode)
_CONFLICTS = (".......x", "......xx", "....xxxx", "...xxxxx", "..xx.xxx", "..xxxxxx", ".xxxxxxx", "xxxxxxxx")


class Certainty(StrEnum):
    """Whether something is so; PERHAPS where the catalog or the rows decide."""

    NO = "no"
    PERHAPS = "perhaps"
    YES = "yes"


class Relative(StrEnum):
    """Which relations are locked, seen from the one that the statement names; in words for people."""

    RELATION = "{}"
    OTHER = "{} "
    CHILDREN = "the partitions and children of {}"
    PARTITIONS = "the partitions of {}"
    ITS_TABLE = "the table of {}"
    ITS_INDEXES = "the indexes of {}"
    ITS_SEQUENCES = "the sequences of {}"
    REFERENCED = "the tables that {} refers to"
    REFERRING = "the tables that refer to {}"
    PARTITION_PARENT = "the partitioned table of {}"
    DEFAULT_PARTITION = "the default partition beside {}"
    DEPENDENTS = "what depends on {}"
    READS = "the tables that {} reads"
    IN_SCHEMA = "everything in schema {}"
    OF_OWNER = "everything that {} owns"
    WITH_TYPE = "the tables with a column of type {}"
    EVERYTHING = "any relation of the database"


GIVEN = "GIVEN"
Locks = Mapping[Relative, LockMode | None]
"""Modes by relative; None is the mode that the statement gives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Operation:
    """One entry of the table, of which there is one object; the head of lock_table.toml says what each field means."""

    name: str
    locks: Locks
    perhaps: Locks
    rewrite: Certainty
    scan: Certainty
    transaction: Certainty
    opaque: str
    note: str
    source: str
    since: int
    until: int
    examples: tuple[str, ...]

    @property
    def page(self) -> str:
        """The address of the page of PostgreSQL's documentation."""
        return DOCS.format(self.source)


def _locks(given: Mapping[str, str]) -> Locks:
    return {Relative[name.upper()]: None if mode == GIVEN else LockMode(mode) for name, mode in given.items()}


def _operation(entry: Mapping[str, Any]) -> Operation:
    return Operation(
        name=entry["name"],
        locks=_locks(entry["locks"]),
        perhaps=_locks(entry.get("perhaps", {})),
        rewrite=Certainty(entry.get("rewrite", "no")),
        scan=Certainty(entry.get("scan", "no")),
        transaction=Certainty(entry.get("transaction", "yes")),
        opaque=entry.get("opaque", ""),
        note=entry.get("note", ""),
        source=entry["source"],
        since=entry.get("since", OLDEST),
        until=entry.get("until", NEWEST),
        examples=tuple(entry["examples"]),
    )


@cache
def operations() -> tuple[Operation, ...]:
    """Return all entries, in the order of the file."""
    return tuple(map(_operation, tomllib.loads(TABLE.read_text(encoding="utf-8"))["operation"]))


@cache
def operations_of(major: int) -> Mapping[str, Operation]:
    """Return the entries for a major version of PostgreSQL, by name. What came later has its first entry."""
    return dict(_of_major(min(max(major, OLDEST), NEWEST)))


def _of_major(major: int) -> Iterator[tuple[str, Operation]]:
    for one in reversed(operations()):
        if one.since > major:
            yield one.name, one
    for one in operations():
        if one.since <= major <= one.until:
            yield one.name, one
