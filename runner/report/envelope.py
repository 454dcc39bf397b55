"""What the JSON of every command begins with, whether it ends well or fails. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.errors import PlanError, PlanrunError

FORMAT_VERSION = 1
"""Fields may be added later; none changes its meaning within one format_version (schemas/output.schema.json)."""


def envelope(
    *, state: str, plan: str | None = None, run: str | None = None, databases: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the fields that are always there.

    databases: a line for each connection of the plan; the first is that of the connection which its steps use by
    default, `target`.
    """
    return {
        "format_version": FORMAT_VERSION,
        "state": state,
        "plan": plan,
        "run": run,
        "target": databases[0] if databases else None,
        "databases": list(databases),
    }


def error_json(exc: PlanrunError) -> dict[str, Any]:
    """Return an error as JSON data; that of an invalid plan contains all of its problems."""
    found: dict[str, Any] = {
        "message": exc.message,
        "where": str(exc.where) if exc.where else None,
        "hint": exc.hint,
        "code": exc.code,
        "exit_code": exc.exit_code,
    }
    if isinstance(exc, PlanError):
        found["problems"] = [
            {"where": str(p.where), "message": p.message, "hint": p.hint, "code": p.code} for p in exc.problems
        ]
    return found


def failure(error: Mapping[str, Any], *, plan: str | None, databases: Sequence[str]) -> dict[str, Any]:
    """Return the whole output of a command that failed before it had a result."""
    head = envelope(state="failed", plan=plan, databases=databases)
    return {**head, "exit_code": error["exit_code"], "error": dict(error)}
