"""Run a program with its arguments, never through a shell, and with only the environment variables in `env`.

planrun shows the output as it arrives. The step fails if the program ends with a code other than 0. In a plan that
makes a backup, planrun compares the relations of that database before and after, and names those that the program
dropped, emptied or rewrote: first those that no backup of this run contains, then the others with the command that
restores each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.kinds.base import CatalogReader, Output, Render, SqlReader, param, refuse_bad_patterns
from runner.losses import Loss
from runner.model import UNKNOWN, Action, Command, Result, Survey
from runner.record import dataclass
from runner.units import absolute

OUTPUTS: Mapping[str, Output] = {
    "exit_code": Output("integer", "The exit code of the program; always 0, because any other code is a failure."),
    "output": Output("string", "The last 64 kB of the program's output."),
    "changed": Output(
        "array",
        "What the program dropped, emptied, rewrote or renamed in the databases that the plan backs up; `session` is "
        "the backup of this run that contains it, `restore` the command that restores it.",
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
        "Names of environment variables that the program may see, besides PATH, HOME, LANG and similar ones.",
        default=(),
        examples=[["DATABASE_URL"]],
    )
    fail_if_output: tuple[str, ...] = param(
        "Regular expressions (Python's): the step fails if a line of the program's output matches one of them, even if "
        "the exit code is 0. Some programs print an error and still end with 0.",
        default=(),
        examples=[["Interactive prompts require a TTY", "^ERROR"]],
    )
    tty: bool | None = param(
        "Whether the program gets a terminal. By default it gets one if planrun has one. With a terminal, you see what "
        "it draws and can answer its questions; if nobody can answer, it reads the end of its input.",
        default=None,
    )
    cwd: str = param("The folder that it runs in; by default, the plan's folder.", default="", path=True)
    destructive: bool = param(
        "The program takes something away for good. `validate` then proves that it runs only after the backup of the "
        "plan has succeeded.",
        default=False,
    )


def look(params: Params, reader: CatalogReader) -> tuple[Survey, ...]:
    """Return the databases that other steps of the plan back up, each with the folders of their sessions."""
    folders: dict[str, list[str]] = {}
    for given in reader.others("pg_dump"):
        connection, folder = given.get("connection", ""), given.get("to")
        if isinstance(connection, str):
            folders.setdefault(connection, []).extend(
                [reader.file(absolute(folder, reader.folder))] if isinstance(folder, str) else []
            )
    query = reader.sql("command/relations.sql.j2") if folders else ""
    return tuple(
        Survey(connection=connection, query=query, folders=tuple(dict.fromkeys(each)))
        for connection, each in folders.items()
    )


def render(params: Params, surveys: tuple[Survey, ...], sql: Render) -> tuple[Action, ...]:
    refuse_bad_patterns(params.fail_if_output)
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


def destroys(given: Mapping[str, Any], read: SqlReader) -> tuple[Loss, ...]:
    """The declaration of the author counts: only the author knows what a program does, and to which database."""
    marked = given.get("destructive", False)
    if marked is False:
        return ()
    argv = given.get("argv")
    program = argv[0] if isinstance(argv, list | tuple) and argv and isinstance(argv[0], str) else "a program"
    return (Loss(what=f"{program}, which is marked `destructive`", place=UNKNOWN, opaque=marked is UNKNOWN),)
