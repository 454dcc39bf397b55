"""Choose free names of at most 63 bytes: the same for the same input, with collisions resolved before any lock."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from runner.sqltext import MAX_NAME_BYTES

PREFIX = "backup_"
_SHADOW = "planrun_shadow_"
_UNDONE = "planrun_undone_"


def shadow_schema(schema: str) -> str:
    """Return the schema in which the shadows of a schema's tables are built."""
    return fit(_SHADOW + schema, ())


def undone_schema(refresh: str) -> str:
    """Return the schema in which a rollback keeps the tables that it replaces."""
    return fit(_UNDONE + refresh, ())


def aside(name: str, taken: Collection[str]) -> str:
    """Return the name of an object put aside: `backup_Area`, or one with a hash if that is taken or too long."""
    return fit(PREFIX + name, taken)


def fit(name: str, taken: Collection[str]) -> str:
    """Return the name itself, or its beginning with a hash of the whole; cut between characters, not inside one."""
    if len(name.encode()) <= MAX_NAME_BYTES and name not in taken:
        return name
    for number in range(len(taken) + 1):
        tail = "_" + hashlib.sha256(f"{name}/{number}".encode()).hexdigest()[:8]
        begin = name.encode()[: MAX_NAME_BYTES - len(tail)].decode(errors="ignore")
        if begin + tail not in taken:
            return begin + tail
    raise AssertionError("one of n + 1 different names is not among n")
