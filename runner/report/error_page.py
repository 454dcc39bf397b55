"""Format the entries of error codes: one for a terminal, all of them as docs/errors.md. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill, indent

from runner.error_codes import ErrorCode, error_codes

HEAD = """# Errors

Every error and every problem of a plan has a code. `planrun explain CODE` prints its entry. A code never changes its
meaning, so scripts and searches can rely on it; `-o json` has it as `code`.

This page is generated from `runner/error_codes.toml`. Edit that, not this page.
"""

WIDTH = 80
"""Columns of a line of prose in a terminal."""

PARTS = {
    "PR01": "The file of a plan",
    "PR02": "References, guards and params",
    "PR03": "SQL and its templates",
    "PR04": "The server",
    "PR05": "Runs",
    "PR06": "The command line",
    "PR07": "Backups",
    "PR08": "Refreshes",
    "PR09": "Programs, files, this machine",
    "PR10": "Before a run",
    "PR11": "What is told of a run",
}


def page() -> str:
    """Return docs/errors.md. The same entries give the same text."""
    return HEAD + "".join(_sections())


def explanation(entry: ErrorCode) -> str:
    """Return one entry as text for a terminal."""
    example = indent((entry.plan or entry.example).strip("\n"), "  ")
    cause, cure = (fill(text, WIDTH, break_long_words=False) for text in (entry.cause, f"What to do: {entry.cure}"))
    return f"{entry.code}: {entry.title}\n\n{cause}\n\nFor example:\n{example}\n\n{cure}\n"


def _sections() -> Iterator[str]:
    part = ""
    for entry in error_codes().values():
        if entry.code[:4] != part:
            part = entry.code[:4]
            yield f"\n## {PARTS[part]}\n"
        yield _section(entry)


def _section(entry: ErrorCode) -> str:
    kind = "yaml" if entry.plan else "text"
    example = (entry.plan or entry.example).strip("\n")
    return f"\n### {entry.code}\n\n**{entry.title}.** {entry.cause}\n\n```{kind}\n{example}\n```\n\n{entry.cure}\n"
