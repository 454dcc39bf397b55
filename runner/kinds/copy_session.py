"""Copy a backup session to another place: another disk, or an object store.

planrun compares each file with the manifest while it copies, and reads it back there. The manifest is written last:
what has none does not count, and the next copy writes it again. A session that is there already is only read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.fates import Preview
from runner.kinds.base import CatalogReader, Output, Prospect, Render, param
from runner.model import UNKNOWN, Action, CopySession, Note, Result

OUTPUTS: Mapping[str, Output] = {
    "session": Output("string", "Where the copy lies: its folder or URL."),
    "files": Output("integer", "The number of files."),
    "bytes": Output("integer", "The size of all files in bytes."),
    "copied": Output("boolean", "`false` if the session was there already."),
}

_NONE: Mapping[str, Any] = {"session": "", "files": 0, "bytes": 0, "copied": False}


@dataclass(frozen=True, kw_only=True)
class Params:
    session: str = param(
        "The session folder or its URL, such as `${steps.save.session}`. If that backup found only empty tables, it "
        "made no session: then there is nothing to copy, and the step is ok.",
        place=True,
        none=True,
        minLength=1,
    )
    to: str = param(
        "The folder or the URL of an object store that holds copies: `s3://bucket/name`, `gs://`, `az://`. Credentials "
        "come from the environment.",
        place=True,
        written=True,
        minLength=1,
        examples=["s3://bucket/backups"],
    )


def look(params: Params, reader: CatalogReader) -> None:
    return None


def render(params: Params, facts: None, sql: Render) -> tuple[Action, ...]:
    if not params.session:
        return (Note(text="every table was empty, so that there is no session: nothing to copy", idle=True),)
    return (CopySession(session=params.session, to=params.to),)


def preview(prospect: Prospect) -> Preview | None:
    """Preview the place, also for a session that an earlier step will make."""
    to = prospect.params.to if prospect.params else prospect.values.get("to", UNKNOWN)
    what = prospect.params.session if prospect.params else "the new session"
    return Preview(lines=(f"copies {what} to {to}, and reads it back there",)) if to is not UNKNOWN else None


def give(params: Params, facts: None, results: Sequence[Result | None]) -> Mapping[str, Any]:
    if not params.session:
        return _NONE
    if not results or results[0] is None:
        return dict.fromkeys(OUTPUTS, UNKNOWN)
    return {name: results[0].get(name) for name in OUTPUTS}
