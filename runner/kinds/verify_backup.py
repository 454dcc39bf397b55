"""Prove a backup session: its checksums, a full read of every archive, or a real restore that is compared.

Level 3 restores every table into a scratch PostgreSQL and compares row counts and an order-free content checksum with
what was taken in the backup's own snapshot. A later step may then rest on `prove.ok`. A session that does not hold
makes the run end with exit code 6. A table that needs more than its session holds (a column of regclass, a check that
calls a function without its schema) cannot be proved alone: it is named, the others are proved, and `level` is 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.kinds.base import CatalogReader, Output, Render, param
from runner.model import UNKNOWN, Action, Result, Verify

OUTPUTS: Mapping[str, Output] = {
    "session": Output("string", "The name of the session."),
    "level": Output("integer", "The level that passed."),
    "at": Output("string", "When, in ISO 8601."),
    "files": Output("integer", "Files that were read."),
    "rows": Output("integer", "Rows of all tables."),
    "bytes": Output("integer", "Bytes of all files."),
    "tables": Output(
        "array", "At level 3 the tables that were restored and compared.", fields=("schema", "name", "rows")
    ),
    "left": Output("array", "What was not proved, each as a text with the reason."),
    "scratch": Output("string", 'The version of the PostgreSQL that it was restored into, "" below level 3.'),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    session: str = param("The session folder, such as `${steps.save.session}`.", path=True, minLength=1)
    level: int = param(
        "1: checksums; 2: every archive is read to its end; 3: restored into a scratch PostgreSQL and compared.",
        default=3,
        minimum=1,
        maximum=3,
    )
    server: str = param(
        "Make the scratch database of level 3 on this connection's server; a private server when not given.",
        default="",
        connection="named",
    )


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    return (Verify(session=params.session, level=params.level, server=params.server),)


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    return {name: results[0].get(name) for name in OUTPUTS}
