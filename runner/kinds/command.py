"""Run a program with its arguments, never through a shell; it gets only the environment that is named.

Its output is shown as it comes. A program that ends with another code than 0 makes the step fail. In a plan that makes
a backup, the relations of that database are compared with those before: what the program dropped, emptied or rewrote is
named, first what no backup of this run holds, with the command that brings back the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import PlanrunError
from runner.kinds.base import CatalogReader, Output, Render, param
from runner.model import UNKNOWN, Action, Command, Result, Survey
from runner.units import absolute

OUTPUTS: Mapping[str, Output] = {
    "exit_code": Output("integer", "What the program ended with; 0, as all else is a failure."),
    "output": Output("string", "The last 64 kB of what it printed."),
    "changed": Output(
        "array",
        "What it dropped, emptied, rewrote or renamed in the databases that the plan backs up; `session` is the backup "
        "of this run that holds it, `restore` the command that brings it back.",
        fields=("schema", "name", "what", "lost", "session", "restore"),
    ),
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
    fail_if_output: tuple[str, ...] = param(
        "Regular expressions (Python's): the step fails when a line that the program prints matches one of them, also "
        "when it ends with 0. Some programs say what went wrong and end as if it had not.",
        default=(),
        examples=[["Interactive prompts require a TTY", "^ERROR"]],
    )
    tty: bool | None = param(
        "Whether the program gets a terminal: true, false, or (when not given) as planrun itself has one. Then you see "
        "what it draws and answer what it asks; where nobody can answer, its questions meet the end of the input.",
        default=None,
    )
    cwd: str = param("The folder it runs in; the plan's own when not given.", default="", path=True)


def look(params: Params, reader: CatalogReader) -> tuple[Survey, ...]:
    """Return the databases that other steps of the plan back up, each with the folders of their sessions."""
    folders: dict[str, list[str]] = {}
    for given in reader.others("pg_dump"):
        connection, folder = given.get("connection", ""), given.get("to")
        if isinstance(connection, str):
            folders.setdefault(connection, []).extend(
                [absolute(folder, reader.folder)] if isinstance(folder, str) else []
            )
    query = reader.sql("command/relations.sql.j2") if folders else ""
    return tuple(
        Survey(connection=connection, query=query, folders=tuple(dict.fromkeys(each)))
        for connection, each in folders.items()
    )


def render(params: Params, surveys: tuple[Survey, ...], sql: Render) -> tuple[Action, ...]:
    for pattern in params.fail_if_output:
        try:
            re.compile(pattern)
        except re.error as exc:
            raise PlanrunError(f"`fail_if_output:` {pattern!r} is no regular expression: {exc}") from None
    return (
        Command(
            argv=params.argv,
            env=params.env,
            cwd=params.cwd,
            fail_if_output=params.fail_if_output,
            tty=params.tty,
            surveys=surveys,
        ),
    )


def give(params: Params, surveys: tuple[Survey, ...], results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    return {name: results[0].get(name) for name in OUTPUTS}
