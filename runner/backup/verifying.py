"""Verify a session: level 1 compares every byte, level 2 reads every archive to its end, level 3 restores it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from runner import files
from runner.backup import filling, needs, scratch, sessions
from runner.backup.archive import DumpContents, Reader, lock_session, units
from runner.backup.manifest import LARGEST, Manifest, sizes
from runner.backup.restored_content import Compared
from runner.cancel import Cancel
from runner.errors import TargetError, VerifyError
from runner.progress import Report, Tally
from runner.version import __version__
from runner.words import PLAN, plural

LEVELS: Mapping[int, str] = {
    1: "checksums",
    2: "full read of every archive",
    3: "restored and compared",
}


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A session that passed.

    contents: from level 2 on, the content of each dump.
    level: the one that passed; 2 if a table could not be restored by itself at level 3.
    tables: at level 3 as they were after the restore. left: what was not proved, and why.
    scratch: "" below level 3, else the version of the server that it was restored into.
    """

    session: str
    level: int
    at: datetime
    files: int
    bytes: int
    rows: int
    contents: Mapping[str, DumpContents] = field(default_factory=dict)
    tables: tuple[Compared, ...] = ()
    left: tuple[str, ...] = ()
    scratch: str = ""


def verify(
    session: Path,
    level: int = 3,
    *,
    server: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
    progress: Report | None = None,
    note: bool = True,
) -> Verified:
    """Prove a session up to a level and, with `note`, record the level beside the manifest.

    server: libpq parameters of a server to restore into at level 3; without it a private one is started.
    Raises VerifyError naming everything that is wrong; the session counts as damaged until it verifies again.
    Raises TargetError if the proof is not possible here; the session may be good.
    """
    manifest = sessions.read(session)
    work = _Work(session, cancel or Cancel(), progress or _silent)
    by = sessions.MADE_BY + __version__
    with lock_session(session):
        try:
            found = work.all(manifest, level, server, os.environ if env is None else env)
        except VerifyError as exc:
            if not note:
                raise
            sessions.record_damage(session, exc.message, at=datetime.now(UTC), by=by)
            with contextlib.suppress(OSError):
                (session / sessions.VERIFIED).unlink()
            raise
        if note:
            sessions.record_verified(session, found.level, at=found.at, by=by)
            sessions.clear_damage(session)
    return found


def _silent(done: int, total: int, unit: str, what: str) -> None:
    pass


class _Work:
    def __init__(self, session: Path, cancel: Cancel, progress: Report) -> None:
        self._session, self._cancel, self._progress = session, cancel, progress

    def all(self, manifest: Manifest, level: int, server: Mapping[str, str] | None, env: Mapping[str, str]) -> Verified:
        tallies = self._tallies(manifest, level)
        self._checksums(manifest, tallies["checksums"])
        reader = Reader(self._session, manifest, self._cancel)
        contents = self._read(reader, manifest, tallies["reading"]) if level >= 2 else {}
        filled, version = self._restore(reader, manifest, server, env, tallies) if level >= 3 else (_NOTHING, "")
        return Verified(
            session=manifest.session,
            level=min(level, 2) if filled.unproved else level,
            at=datetime.now(UTC),
            files=len(manifest.files),
            bytes=manifest.bytes,
            rows=manifest.rows,
            contents=contents,
            tables=filled.tables,
            left=(*filled.left, *filled.unproved),
            scratch=version,
        )

    def _tallies(self, manifest: Manifest, level: int) -> Mapping[str, Tally]:
        """Report what there is to do up to a level, in bytes of files."""
        every = {name: file.bytes for name, file in manifest.files.items()}
        dumps = sizes(manifest)
        return {
            "checksums": Tally("checksums", every, self._progress),
            **({"reading": Tally("reading", dumps, self._progress)} if level >= 2 else {}),
            **(filling.tallies(manifest, self._progress) if level >= 3 else {}),
        }

    # -------------------------------------------------------------- level 1

    def _checksums(self, manifest: Manifest, tally: Tally) -> None:
        sums = self._sums()
        on_disk = dict(_walk(self._session))
        wrong = [f"{name}: {what}" for name, what in on_disk.items() if what]
        wrong += self._names(manifest, set(sums), {name for name, what in on_disk.items() if not what})
        expected = {name: (file.bytes, file.sha256) for name, file in manifest.files.items()}
        for name, digest in sorted(sums.items()):
            self._cancel.check()
            if on_disk.get(name) == "":
                wrong += self._bytes(name, digest, expected.get(name), tally)
            tally.complete([name], name)
        wrong += _within(manifest)
        _refuse(self._session, wrong)

    def _sums(self) -> dict[str, str]:
        path = self._session / files.SUMS
        try:
            with files.open_plain(path) as file:
                return files.read_sums(file.read(LARGEST).decode())
        except OSError as exc:
            if exc.errno not in _DAMAGE:
                raise TargetError(f"cannot verify here: {exc.strerror or exc}", where=str(path), code="PR0708") from exc
            raise VerifyError(f"cannot read it: {exc.strerror or exc}", where=str(path), code="PR0707") from exc
        except ValueError as exc:
            raise VerifyError(f"is not what planrun writes: {exc}", where=str(path), code="PR0707") from exc

    def _names(self, manifest: Manifest, summed: set[str], there: set[str]) -> Iterator[str]:
        ours = set(manifest.files) | {sessions.MANIFEST}
        yield from (f"{name}: is missing" for name in sorted(ours - there))
        foreign = (name for name in sorted(there - ours - _BESIDE) if not _KILLED_WRITE.fullmatch(name))
        yield from (f"{name}: is not part of this backup" for name in foreign)
        yield from (f"{name}: is not in {files.SUMS}" for name in sorted(ours - summed))
        yield from (f"{name}: is in {files.SUMS} but not in the manifest" for name in sorted(summed - ours))

    def _bytes(self, name: str, digest: str, expected: tuple[int, str] | None, tally: Tally) -> Iterator[str]:
        try:
            found = files.digest(self._session / name, partial(tally.add, name, name))
        except TargetError as exc:
            if isinstance(exc.__cause__, OSError) and exc.__cause__.errno not in _DAMAGE:
                raise TargetError(f"cannot verify here: {exc.message}", where=exc.where, code="PR0708") from exc
            yield f"{name}: {exc.message}"
            return
        if expected and found[0] != expected[0]:
            yield f"{name}: {plural(found[0], 'byte')}, written were {expected[0]:,}"
        elif found[1] != digest or (expected and found[1] != expected[1]):
            yield f"{name}: its content has changed"

    # -------------------------------------------------------------- level 2 and 3

    def _read(self, reader: Reader, manifest: Manifest, tally: Tally) -> dict[str, DumpContents]:
        wrong, contents = [], {}
        for unit in units(manifest.tables):
            try:
                contents[unit.file] = reader.prove_readable(unit, partial(tally.add, unit.file, unit.file))
            except VerifyError as exc:
                wrong.append(f"{unit.file}: {exc.message}")
            tally.complete([unit.file], unit.file)
        _refuse(self._session, wrong)
        return contents

    def _restore(
        self,
        reader: Reader,
        manifest: Manifest,
        server: Mapping[str, str] | None,
        env: Mapping[str, str],
        tallies: Mapping[str, Tally],
    ) -> tuple[filling.Filled, str]:
        whole = [unit for unit in units(manifest.tables) if unit.whole]
        lacking = [
            needs.display_name(need) for need in manifest.needs if not need.ddl and need.kind not in ("role", "schema")
        ]
        if lacking:
            raise TargetError(f"cannot verify here: needs {', '.join(lacking)}", where=manifest.session, code="PR0708")
        with scratch.database(
            manifest, extensions=reader.extensions(whole), server=server, env=env, cancel=self._cancel
        ) as place:
            filled = filling.fill(place, reader, manifest, self._cancel, tallies)
        _refuse(self._session, [f"{t.full_name}: {t.problem}" for t in filled.tables if t.problem])
        return filled, place.programs.version


_NOTHING = filling.Filled(tables=(), left=(), unproved=())

_DAMAGE = {errno.ENOENT, errno.EIO, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
"""Errors that show a damaged session; a missing right, or too many open files, do not."""

_BESIDE = {files.SUMS, sessions.VERIFIED, sessions.DAMAGED}
_KILLED_WRITE = re.compile(rf"\.(?:{re.escape(sessions.VERIFIED)}|{re.escape(sessions.DAMAGED)})\.\w{{8}}")
"""The file that is left if a verification is killed while it records its success; it does not damage the backup."""


def _walk(session: Path) -> Iterator[tuple[str, str]]:
    """Yield every name in a session, with "" or what is wrong with it: only folders and plain files are allowed."""
    with files.translate_errors("read", session):
        for folder, inner, names in os.walk(session, onerror=_raise):
            for name in [*inner, *names]:
                path = Path(folder, name)
                mode = path.lstat().st_mode
                shown = path.relative_to(session).as_posix()
                if not stat.S_ISDIR(mode):
                    yield shown, "" if stat.S_ISREG(mode) else "is a link or a device, not a plain file"
                elif not any(path.iterdir()):
                    yield shown, "is a folder that is not part of this backup"


def _raise(exc: OSError) -> None:
    """os.walk skips folders that it cannot list, and their files would seem to be missing."""
    raise exc


def _within(manifest: Manifest) -> Iterator[str]:
    """Yield contradictions in what the manifest says about its tables."""
    if manifest.state != "complete":
        yield f"{sessions.MANIFEST}: this session was never completed"
    if not manifest.tables:
        yield f"{sessions.MANIFEST}: it contains no table"
    for table in manifest.tables:
        inside = (table.file, f"{table.file}/toc.dat")
        if not any(name in manifest.files for name in inside):
            yield f"{table.file}: holds {table.full_name} but is missing in the list of files"


def _refuse(session: Path, wrong: list[str]) -> None:
    if wrong:
        more = f"; and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise VerifyError(
            "; ".join(wrong[:20]) + more,
            where=str(session),
            hint=f"do not rely on this session: planrun backups list {PLAN} shows the others",
            code="PR0710",
        )
