"""What differs between two versions of a plan, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class What(StrEnum):
    """What a change is about, the most dangerous first."""

    PROBLEM = "invalid"
    LOSS_UNPROTECTED = "destructive action added, not protected"
    PROTECTION_REMOVED = "protection removed"
    PROTECTED_TABLE = "table no longer protected"
    LOSS_ADDED = "destructive action added"
    OBJECT_WORSE = "object worse off"
    PROTECTION_CHANGED = "protection changed"
    GUARD_CHANGED = "guard changed"
    CONNECTION_CHANGED = "connection changed"
    BACKUP_CHANGED = "backup setting changed"
    LOCK_ADDED = "lock added"
    STATEMENT_ADDED = "statement added"
    STATEMENT_REMOVED = "statement removed"
    STEP_ADDED = "step added"
    STEP_REMOVED = "step removed"
    STEP_MOVED = "step moved"
    STEP_CHANGED = "step changed"
    OBJECT_CHANGED = "object changed"
    SETTING_CHANGED = "setting changed"
    UNKNOWN = "file changed"
    LOCK_REMOVED = "lock removed"
    LOSS_REMOVED = "destructive action removed"
    PROTECTION_ADDED = "protection added"


GRAVE = frozenset(list(What)[: list(What).index(What.LOCK_ADDED) + 1])
"""What a reviewer must look at: it may take something away, or make the way to that shorter."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference. step: its path, "" for the plan itself. text: what it is about, in words.

    before, after: the two sides, "" where there is none.
    """

    what: What
    step: str = ""
    text: str = ""
    before: str = ""
    after: str = ""
    of_rollback: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs. old, new: how the versions are named. against: where it comes from, in words.

    databases: a line for each connection, none where none was asked. notes: what the reader must know of either side.
    exit_code: 5 for an invalid new version, else that of its diff where it fails. plan, file: those of the new version.
    """

    plan: str
    file: str
    old: str
    new: str
    against: str
    changes: tuple[Change, ...]
    databases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exit_code: int = 0

    @property
    def differs(self) -> bool:
        return bool(self.changes)
