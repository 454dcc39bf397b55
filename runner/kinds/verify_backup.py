"""Prove a backup session: by its checksums, by a full read of every archive, or by a real restore and a comparison.

Level 3 restores every table into a scratch PostgreSQL and compares row counts and an order-free content checksum with
those of the backup's snapshot. A later step can then depend on `prove.ok`. If a session fails, the run ends with exit
code 6. A table that needs more than its session contains (a column of regclass, a check that calls a function without
its schema) cannot be proved alone: planrun names it, proves the others, and `level` is 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.fates import Fate, Preview
from runner.kinds.base import CatalogReader, Output, Prospect, Render, param
from runner.model import UNKNOWN, Action, Note, Result, Verify
from runner.record import dataclass
from runner.words import plural

OUTPUTS: Mapping[str, Output] = {
    "level": Output("integer", "The level that passed."),
    "files": Output("integer", "The number of files that were read."),
    "rows": Output("integer", "The number of rows in all tables."),
    "bytes": Output("integer", "The size of all files in bytes."),
    "tables": Output(
        "array", "At level 3, the tables that were restored and compared.", fields=("schema", "name", "rows")
    ),
    "left": Output("array", "What was not proved, each as a text with the reason."),
    "session": Output("string", "The name of the session."),
    "at": Output("string", "When the session was verified, in ISO 8601."),
    "scratch": Output("string", 'The version of the PostgreSQL that the session was restored into; "" below level 3.'),
}


@dataclass(frozen=True, kw_only=True)
class Params:
    session: str = param(
        "The session folder, such as `${steps.save.session}`. If that backup found only empty tables, it made no "
        "session: then there is nothing to prove, and the step is ok.",
        path=True,
        none=True,
        minLength=1,
    )
    level: int = param(
        "1: compare checksums; 2: read every archive to its end; 3: restore into a scratch PostgreSQL and compare.",
        default=3,
        minimum=1,
        maximum=3,
    )
    server: str = param(
        "Create the scratch database of level 3 on this connection's server; by default, on a private server.",
        default="",
        connection="named",
    )


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    if not params.session:
        return (Note(text="every table was empty, so that there is no session: nothing to prove", idle=True),)
    return (Verify(session=params.session, level=params.level, server=params.server),)


_PROOFS = {
    1: "compares the checksums of its files",
    2: "compares the checksums of its files and reads every archive to its end",
    3: "restores every table into a scratch PostgreSQL and compares rows and content with the snapshot",
}


def preview(prospect: Prospect) -> Preview | None:
    """Preview what is proved, also for a session that an earlier step will make; its `place` is then ""."""
    level = prospect.params.level if prospect.params else prospect.values.get("level", 3)
    saved = next(prospect.before("pg_dump"), None)
    if level not in _PROOFS or (prospect.params is None and saved is None):
        return None
    what = "the session"
    if prospect.params is None and saved:
        count = sum(one.fate is Fate.SAVED for one in saved.objects)
        if not count:
            return Preview(
                lines=("proves nothing if every table is empty, as now: there is no session then",), level=level
            )
        what = f"the new session with {plural(count, 'table')}"
    place = prospect.params.session if prospect.params else ""
    return Preview(lines=(f"proves {what} at level {level}: {_PROOFS[level]}",), place=place, level=level)


_NO_SESSION = dict.fromkeys(("session", "at", "scratch"), "")


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not params.session:
        return {**dict.fromkeys(("level", "files", "rows", "bytes"), 0), "tables": [], "left": [], **_NO_SESSION}
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    return {name: results[0].get(name) for name in OUTPUTS}
