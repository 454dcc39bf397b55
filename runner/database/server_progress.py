"""Word what PostgreSQL says about the commands of planrun's connections (rows of sql/server/progress.sql). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.words import shown_name, size

_PHASES = {"CREATE INDEX": "indexes", "ANALYZE": "keys and statistics"}
"""The phase of an action that a command of the server belongs to (runner.progress.WEIGHTS)."""


def lines(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a line for each command: `CREATE INDEX on public.orders: building index: scanning table, 45 %`."""
    return tuple(map(_line, rows))


def _line(row: Mapping[str, Any]) -> str:
    where = f" on {shown_name(row['schema'] or '', row['name'])}" if row["name"] else ""
    phase = f": {row['phase']}" if row["phase"] else ""
    return f"{row['command']}{where}{phase}{_amount(row)}"


def _amount(row: Mapping[str, Any]) -> str:
    if row["total"]:
        return f", {min(99, 100 * row['done'] // row['total'])} %"
    return f", {size(row['done'])}" if row["unit"] == "bytes" and row["done"] else ""


class Inflight:
    """Counts the bytes of tables that commands which have not ended have worked off.

    The server tells the size of a table only while it reads the table, so it is remembered.
    """

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, str], int] = {}

    def count(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Return the bytes by the phase of an action."""
        found: dict[str, int] = {}
        for row in rows:
            name = row["schema"], row["name"]
            self._sizes[name] = max(row["bytes"], self._sizes.get(name, 0))
            if phase := _PHASES.get(row["command"].removesuffix(" CONCURRENTLY")):
                found[phase] = found.get(phase, 0) + int(self._sizes[name] * min(1.0, row["share"]))
        return found
