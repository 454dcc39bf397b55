"""Targets: a whole session folder as an attacker may prepare it for a restore: edited SQL, links, files elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from runner import files
from runner.backup import sessions, verifying
from runner.backup.dumpfile import measure
from runner.backup.manifest import Manifest
from runner.errors import VerifyError
from tests.fuzz import mutating
from tests.fuzz.records import GOOD
from tests.fuzz.running import Target

_DUMP = b"""--
-- PostgreSQL database dump
--

--
-- Name: a; Type: TABLE; Schema: public; Owner: o
--

CREATE TABLE public.a (id integer);

--
-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: o
--

COPY public.a (id) FROM stdin;
1
\\.

--
-- PostgreSQL database dump complete
--
"""
_OUTSIDE = b"nobody's business\n"
_NAMES = ("a.sql", sessions.MANIFEST, files.SUMS, "backup-summary.txt", "more.sql", "folder")
_WAYS = ("edit", "edit", "edit", "link", "pipe", "folder", "gone", "cut", "json", "sums")
_ELSEWHERE = ("../outside", "/dev/null", "folder/../../outside", "a.sql/../../outside", "..", "a\n.sql")


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="planrun-fuzz-")


@cache
def _make_session() -> Path:
    """Return a session that verifies; `outside` beside it is what no session may reach."""
    folder = Path(_place().name, "sealed")
    folder.mkdir()
    (folder / "outside").write_bytes(_OUTSIDE)
    writing = sessions.begin(folder, started=GOOD.started)
    (writing.path / "a.sql").write_bytes(_DUMP)
    (writing.path / "backup-summary.txt").write_text("one table\n")
    made = {name: measure(writing.path / name) for name in ("a.sql", "backup-summary.txt")}
    return writing.seal(_of(writing.manifest, made["a.sql"].sha256), made)


def _of(begun: Manifest, sha256: str) -> Manifest:
    table = replace(GOOD.tables[0], file="a.sql", bytes=len(_DUMP), sha256=sha256, post_data_at=None, references=())
    return replace(begun, finished=GOOD.finished, server=GOOD.server, format="copy", tables=(table,), rows=1, bytes=1)


def _edits(rng: Random) -> list[tuple[str, str, Any]]:
    """Return what is done to the folder: to which name, how, and with what."""
    return [_edit(rng) for _ in range(rng.randrange(0, 3))]


def _edit(rng: Random) -> tuple[str, str, Any]:
    way = rng.choice(_WAYS)
    if way == "edit":
        return rng.choice(_NAMES[:5]), way, mutating.raw(rng, _DUMP if rng.random() < 0.5 else b"")
    if way == "link":
        return rng.choice(_NAMES), way, rng.choice(_ELSEWHERE)
    if way in ("json", "sums"):
        return "", way, (rng.choice(_ELSEWHERE), rng.randrange(2**32))
    return rng.choice(_NAMES), way, rng.randrange(len(_DUMP))


def _apply_edit(session: Path, name: str, way: str, what: Any) -> None:
    path = session / ({"json": sessions.MANIFEST, "sums": files.SUMS}.get(way) or name)
    data = path.read_bytes() if _plain(path) else b""
    _remove(path)
    match way:
        case "json":
            path.write_text(_rewrite(data, *what))
        case "sums":
            path.write_bytes(data + f"{'0' * 64}  {what[0]}\n".encode())
        case "cut":
            path.write_bytes(data[:what])
        case _:
            _put(path, way, what)


def _plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _put(path: Path, way: str, what: Any) -> None:
    match way:
        case "edit":
            path.write_bytes(what)
        case "link":
            path.symlink_to(what)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
            (path / "inner.sql").write_bytes(_DUMP)


def _rewrite(text: bytes, elsewhere: str, seed: int) -> str:
    """Change a manifest as somebody would who wants files of another folder to be read, or anything else."""
    rng = Random(seed)
    data = json.loads(text or b"{}")
    if rng.random() < 0.5:
        data["tables"][0]["file"] = elsewhere
        data["files"] = {**data["files"], elsewhere: data["files"]["a.sql"]}
    else:
        data = mutating.tree(rng, data)
    return json.dumps(data)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _verify(edits: list[tuple[str, str, Any]]) -> None:
    """Only the original session passes; nothing outside is read or written, whatever the folder contains."""
    folder = Path(_place().name, "tried")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_make_session().parent, folder)
    session = folder / _make_session().name
    as_made = _content(session)
    for name, way, what in edits:
        try:
            _apply_edit(session, name, way, what)
        except (OSError, ValueError, LookupError, TypeError):
            continue  # an edit before it took away what this one needs
    before = _content(session)
    try:
        verifying.verify(session, 2)
    except VerifyError:
        assert before != as_made, "what was sealed must pass"
        raise
    finally:
        assert (folder / "outside").read_bytes() == _OUTSIDE
        assert sorted(path.name for path in folder.iterdir()) == sorted(["outside", session.name])
        assert {
            name: data for name, data in _content(session).items() if name not in (sessions.VERIFIED, sessions.DAMAGED)
        } == before
    assert before == as_made, "what was changed must not pass"


def _content(session: Path) -> Mapping[str, bytes | str]:
    """Return every name in a session with its bytes, or with what it is."""
    found: dict[str, bytes | str] = {}
    for path in session.rglob("*"):
        what = str(path.readlink()) if path.is_symlink() else oct(path.lstat().st_mode)
        found[path.relative_to(session).as_posix()] = path.read_bytes() if _plain(path) else what
    return found


VERIFIED = Target("verify", _edits, _verify, weight=3)
