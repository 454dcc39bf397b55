"""Lists of sessions and tables as aligned columns."""

from __future__ import annotations

from collections.abc import Sequence


def table_text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned lines; a column of numbers is right-aligned."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    right = [head[column] in ("TABLES", "ROWS", "SIZE") for column in range(len(head))]
    lines = (
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, right, strict=True)
        )
        for row in every
    )
    return "".join(line.rstrip() + "\n" for line in lines)
