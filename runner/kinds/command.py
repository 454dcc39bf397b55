"""Run a program with its arguments, never through a shell; it gets only the environment that is named.

Its output is shown as it comes. A program that ends with another code than 0 makes the step fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.kinds.base import Output, Render, World, param
from runner.model import UNKNOWN, Action, Command, Result

OUTPUTS: Mapping[str, Output] = {
    "exit_code": Output("integer", "What the program ended with; 0, as all else is a failure."),
    "output": Output("string", "The last 64 kB of what it printed."),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    argv: tuple[str, ...] = param(
        "The program and its arguments, one list entry each.",
        minItems=1,
        examples=[["npx", "drizzle-kit", "migrate"], ["alembic", "upgrade", "head"]],
    )
    env: tuple[str, ...] = param(
        "Names of environment variables that the program may see, besides PATH, HOME, LANG and the like.",
        default=(),
        examples=[["DATABASE_URL"]],
    )
    cwd: str = param("The folder it runs in; the plan's own when not given.", default="", path=True)


def look(params: Params, world: World) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    return (Command(argv=params.argv, env=params.env, cwd=params.cwd),)


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    return {name: results[0].get(name) for name in OUTPUTS}
