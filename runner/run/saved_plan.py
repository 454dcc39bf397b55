"""A diff in a file: its text, what it depends on, and its plan. Reading it needs no database."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from runner.errors import PlanrunError, UsageError
from runner.fates import Fate, ObjectFate
from runner.files import write_text
from runner.record import dataclass
from runner.words import json_text

FORMAT_VERSION = 1
_WHAT = "planrun saved plan"
_HEAD = 200
"""How many characters at the beginning of a file show whether it is a saved plan."""


class SavedPlanError(PlanrunError):
    """The file is not a saved plan, or not one that this version can use; nothing was changed."""

    exit_code = 5
    CODE = "PR0509"


@dataclass(frozen=True, kw_only=True)
class SavedPlan:
    """What `planrun diff --out` writes.

    version: planrun's. saved: the time (RFC 3339). file, sets, digest: of the plan; content: a SHA-256 for each text
    that the digest covers. until, resume, accept: the options of the diff; resume is the id of the run to resume, ""
    for a new one. last: the newest run of the plan and its number of attempts. servers: what identifies the database
    of each connection. approved: the fates of the objects by the path of the step, which an apply must not exceed.
    fingerprint: runner.run.fingerprint. pages: the diff as it was shown: `text`, `verbose`, `markdown`, `github`,
    `junit`. diff: its JSON.
    """

    version: str
    saved: str
    plan: str
    file: str
    sets: tuple[str, ...]
    digest: str
    content: Mapping[str, str]
    until: str
    resume: str
    accept: str
    last: str
    databases: tuple[str, ...]
    servers: Mapping[str, Mapping[str, str]]
    approved: Mapping[str, Sequence[ObjectFate]]
    fingerprint: Mapping[str, Any]
    pages: Mapping[str, str]
    diff: Mapping[str, Any] = field(repr=False)


def digests(content: Mapping[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in content.items()}


# ------------------------------------------------------------------ JSON


def to_json(plan: SavedPlan) -> dict[str, Any]:
    """Return the plan as JSON data with its seal."""
    body: dict[str, Any] = {"saved_plan": _WHAT, "format_version": FORMAT_VERSION}
    body |= {one.name: getattr(plan, one.name) for one in fields(plan)}
    body |= {"sets": list(plan.sets), "databases": list(plan.databases)}
    body["approved"] = {path: [_object(one) for one in objects] for path, objects in plan.approved.items()}
    return {**body, "sha256": _seal(body)}


def _object(one: ObjectFate) -> dict[str, Any]:
    told = {each.name: getattr(one, each.name) for each in fields(one)}
    return told | {"fate": one.fate.value, "gains": list(one.gains), "loses": list(one.loses)}


def _seal(body: Mapping[str, Any]) -> str:
    """Return a digest of all but the seal: it detects accidents, not somebody who changes the file on purpose."""
    text = json.dumps({name: one for name, one in body.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def from_json(data: Any) -> SavedPlan:
    """Return the saved plan in JSON data. Raises SavedPlanError with the reason if it is none."""
    if not isinstance(data, dict) or data.get("saved_plan") != _WHAT:
        raise SavedPlanError("this is not a saved plan")
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise SavedPlanError(
            f"the saved plan has format {version!r}, and this planrun reads format {FORMAT_VERSION}",
            hint=f"use the planrun that saved it ({data.get('version')})",
        )
    if data.get("sha256") != _seal(data):
        raise SavedPlanError("the saved plan is not as it was written: its content does not match its digest")
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise SavedPlanError(f"the saved plan is incomplete: {exc}") from None


def _parse(data: Mapping[str, Any]) -> SavedPlan:
    given = {one.name: data[one.name] for one in fields(SavedPlan)}
    approved = {
        path: tuple(
            ObjectFate(**one | {"fate": Fate(one["fate"]), "gains": tuple(one["gains"]), "loses": tuple(one["loses"])})
            for one in objects
        )
        for path, objects in data["approved"].items()
    }
    return SavedPlan(
        **given | {"sets": tuple(data["sets"]), "databases": tuple(data["databases"]), "approved": approved}
    )


# ------------------------------------------------------------------ the file


def is_saved_plan(file: str) -> bool:
    """Return whether the file is meant as a saved plan, complete or not: by its first lines, or by a name in
    `.plan`."""
    return file.endswith(".plan") or _begins_as_one(Path(file))


def _begins_as_one(path: Path) -> bool:
    if not path.is_file():  # reading from a pipe would consume it
        return False
    try:
        with path.open(errors="replace") as stream:
            return _WHAT in stream.read(_HEAD)
    except OSError:
        return False


def read(file: str) -> SavedPlan:
    """Return the saved plan of a file. Raises SavedPlanError, which names the file and the reason."""
    try:
        return from_json(json.loads(Path(file).read_text()))
    except OSError as exc:
        error = SavedPlanError(f"cannot read the saved plan: {exc.strerror}")
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        error = SavedPlanError("this saved plan is cut off or is not JSON")
    except SavedPlanError as exc:
        error = exc
    error.where, error.hint = (
        file,
        error.hint or f"save the diff again: planrun diff <its plan> --out {shlex.quote(file)}",
    )
    raise error from None


def refuse_other_file(file: str) -> None:
    """Raise UsageError if the file exists and is not a saved plan: it would be replaced."""
    path = Path(file)
    if os.path.lexists(path) and (path.is_symlink() or not _begins_as_one(path)):
        raise UsageError(
            f"--out {file}: the file exists and is not a saved plan", hint="give it another name", code="PR0510"
        )


def write(plan: SavedPlan, file: str) -> None:
    """Write the file, readable only by its owner; readers see the old or the complete new one."""
    refuse_other_file(file)
    write_text(Path(file), json_text(to_json(plan), indent=1) + "\n", 0o600)
