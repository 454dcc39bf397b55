"""Sessions: one folder for each backup, visible under its final name only when it is complete.

While it is written, its name is `<name>.partial` and its manifest is locked (flock), which distinguishes a killed
writer from a living one. Nothing here deletes a folder without a manifest of planrun.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runner import files
from runner.backup.manifest import LARGEST, File, Manifest, from_json, to_json
from runner.cancel import Cancel
from runner.errors import TargetError, VerifyError
from runner.names import is_session_name, session_moment, session_name
from runner.retention import PROVED
from runner.session_facts import SKEW, SessionFacts
from runner.version import __version__

MANIFEST, SUMMARY, VERIFIED = "manifest.json", "backup-summary.txt", "verified.json"
DAMAGED = "damaged.json"
"""A file next to the manifest: a verification found that the session has changed."""
PARTIAL = ".partial"
MADE_BY = "planrun "

_UNNAMED, _YOUNG = re.compile(r"\.planrun-[0-9a-f]{16}"), 60.0
_NOT_A_PLAIN_FOLDER = "not a plain folder"
_ANOTHERS = "this manifest belongs to another folder or another program"


# ------------------------------------------------------------------ writing one


class Writing:
    """A session that is being written in `path`. End it by `seal` or by `discard`.

    place and above: its folder and the parent folder, held open from the beginning. Somebody may remove or rename them,
    or unmount their disk; then the path leads to something else than what planrun wrote.
    """

    def __init__(self, path: Path, manifest: Manifest, lock: int, place: files.Place, above: files.Place) -> None:
        self.path, self.manifest, self._locks = path, manifest, [lock]
        self._place, self._above = place, above

    @property
    def name(self) -> str:
        return self.manifest.session

    def seal(self, manifest: Manifest, made: dict[str, File]) -> Path:
        """Write manifest and SHA256SUMS, read all files back from disk, rename the folder, and return its path.

        `made` has every file of the session except these two. Raises TargetError if one of them is not on disk as it
        was written, or if the path no longer leads to this folder.
        """
        text = to_json(replace(manifest, state="complete", files=made)).encode()
        digest = hashlib.sha256(text).hexdigest()
        sums = {name: each.sha256 for name, each in sorted(made.items())} | {MANIFEST: digest}
        return self.seal_copy(text, files.sums_text(sums).encode(), made)

    def seal_copy(self, manifest: bytes, sums: bytes, made: Mapping[str, File]) -> Path:
        """As `seal`, with the text of the manifest and of SHA256SUMS as they are in another place."""
        self.refuse_elsewhere()
        self._write_manifest(manifest)
        files.write_text(self.path / files.SUMS, sums)
        self._sync()
        beside = {
            name: File(bytes=len(text), sha256=hashlib.sha256(text).hexdigest())
            for name, text in ((MANIFEST, manifest), (files.SUMS, sums))
        }
        self._read_back({**made, **beside})
        final = self.path.with_name(self.name)
        with files.translate_errors("rename the finished session", self.path):
            self.path.rename(final)
        files.sync(final.parent)
        self.refuse_elsewhere(final)
        self._close()
        return final

    def refuse_elsewhere(self, path: Path | None = None) -> None:
        """Raise TargetError if the path (by default its own) does not lead to the folder where the session was
        written."""
        path = path or self.path
        if not self._place.is_at(path) or not self._above.is_at(path.parent):
            raise TargetError(
                "while this backup was written, its folder was removed, renamed or replaced, or its disk was "
                "unmounted: "
                "the backup does not count",
                where=str(path),
                hint="find out what clears that folder and check that its disk is mounted; then run again",
                code="PR0704",
            )

    @contextlib.contextmanager
    def explain_errors(self) -> Iterator[None]:
        """Replace "no such file" and similar errors by the reason if the folder is no longer at its path."""
        try:
            yield
        except TargetError:
            self.refuse_elsewhere()
            raise

    def _read_back(self, made: Mapping[str, File]) -> None:
        """Raise TargetError if a file on disk differs from what was written; two files are read at a time."""
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(self._place.digest, made))
        there = [File(bytes=size, sha256=digest) for size, digest in found]
        wrong = [name for name, file in zip(made, there, strict=True) if file != made[name]]
        if wrong:
            raise TargetError(
                f"files on disk differ from what planrun wrote: {', '.join(sorted(wrong)[:10])}",
                where=str(self.path),
                hint="somebody changed them, or the disk has a fault: look at the system log, then run again",
                code="PR0704",
            )

    def _write_manifest(self, text: bytes) -> None:
        """Replace the manifest by one that is already locked when it becomes visible."""
        fresh = self.path / f".{MANIFEST}"
        self._locks.append(_create_lock(fresh, text))
        with files.translate_errors("write", self.path / MANIFEST):
            fresh.replace(self.path / MANIFEST)

    def _sync(self) -> None:
        for folder, _, names in os.walk(self.path):
            for name in names:
                files.sync(Path(folder, name))
            files.sync(Path(folder))

    def discard(self) -> None:
        """Remove what was written, but nothing else that has taken its path. Raise nothing: the first error is the one
        to report."""
        for path in (self.path, self.path.with_name(self.name)):
            if self._place.is_at(path):
                shutil.rmtree(path, ignore_errors=True)
        self._close()

    def _close(self) -> None:
        while self._locks:
            os.close(self._locks.pop())
        self._place.close()
        self._above.close()


def begin(folder: Path, *, started: datetime, run: str = "", plan: str = "") -> Writing:
    """Begin a new session under `folder`, which is created if it is missing. Raises TargetError if that fails."""
    return _begin(folder, _empty(session_name(started), started, run, plan), _name)


def begin_copy(folder: Path, manifest: Manifest) -> Writing:
    """Begin a session under the name that it has elsewhere, and remove what an interrupted copy of it left.

    Raises TargetError if there is a session of this name, or somebody writes one.
    """
    name = manifest.session
    if os.path.lexists(folder / name):
        raise TargetError("a session of this name is there already", where=str(folder / name), code="PR1160")
    if os.path.lexists(folder / (name + PARTIAL)):
        remove(folder, name + PARTIAL)
    empty = replace(_empty(name, manifest.started, manifest.run, manifest.plan), id=manifest.id)
    return _begin(folder, empty, _name_as_it_is)


def _begin(folder: Path, manifest: Manifest, give_name: Callable[[Path, Path, Writing], Writing]) -> Writing:
    files.make_folder(folder)
    _clear_unnamed(folder)
    fresh = folder / f".planrun-{secrets.token_hex(8)}"
    with files.translate_errors("write in the folder", folder):
        fresh.mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, fresh, ignore_errors=True)
        place, above = (stack.enter_context(contextlib.closing(files.Place(path))) for path in (fresh, folder))
        lock = _create_lock(fresh / MANIFEST, to_json(manifest).encode())
        stack.callback(os.close, lock)
        writing = give_name(folder, fresh, Writing(fresh, manifest, lock, place, above))
        stack.pop_all()
    return writing


def _clear_unnamed(folder: Path) -> None:
    """Remove what a writer left that was killed before its folder got its name: at most a manifest without tables.

    A very recent one is left alone, because its writer may not have locked it yet.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if not _UNNAMED.fullmatch(path.name) or time.time() - path.lstat().st_mtime < _YOUNG:
                continue
            with contextlib.suppress(OSError):  # a link, another file inside, or another planrun removes it too
                _remove_unnamed(path)


def _remove_unnamed(path: Path) -> None:
    if path.is_symlink() or {entry.name for entry in path.iterdir()} - {MANIFEST}:
        return
    if (path / MANIFEST).exists():
        fd = os.open(path / MANIFEST, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if files.try_lock(fd):
                (path / MANIFEST).unlink()
        finally:
            os.close(fd)
    path.rmdir()


def _name(folder: Path, fresh: Path, writing: Writing) -> Writing:
    """Give a locked folder the first free name; two sessions of one millisecond get consecutive names."""
    for later in range(1000):
        name = session_name(writing.manifest.started + timedelta(milliseconds=later))
        path = folder / (name + PARTIAL)
        if (folder / name).exists() or path.exists():
            continue
        with files.translate_errors("write in the folder", folder):
            try:
                fresh.rename(path)
            except OSError as exc:
                if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    continue
                raise
        writing.path, writing.manifest = path, replace(writing.manifest, session=name)
        if later:
            writing._write_manifest(to_json(writing.manifest).encode())
        return writing
    raise TargetError("found no free session name within a second", where=str(folder), code="PR0704")


def _name_as_it_is(folder: Path, fresh: Path, writing: Writing) -> Writing:
    """Give a locked folder the name of its session."""
    path = folder / (writing.name + PARTIAL)
    with files.translate_errors("write in the folder", folder):
        fresh.rename(path)  # fails if another copy has made it meanwhile: its manifest is in it
    writing.path = path
    return writing


def _empty(name: str, started: datetime, run: str, plan: str) -> Manifest:
    return Manifest(
        made_by=MADE_BY + __version__,
        state="partial",
        session=name,
        id=uuid.uuid4().hex,
        run=run,
        plan=plan,
        started=started,
    )


def _create_lock(path: Path, text: bytes) -> int:
    with files.translate_errors("write", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            files.try_lock(fd)
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(fd)
        except BaseException:
            os.close(fd)
            raise
    return fd


# ------------------------------------------------------------------ reading them


def read(session: Path) -> Manifest:
    """Return the manifest of a session folder.

    Raises VerifyError if the folder is a link, has no manifest of planrun, or has an invalid one.
    """
    if session.is_symlink() or not session.is_dir():
        raise VerifyError("no session here: " + _NOT_A_PLAIN_FOLDER, where=str(session), code="PR0706")
    manifest = from_json(_small(session / MANIFEST), str(session / MANIFEST))
    if not manifest.made_by.startswith(MADE_BY) or manifest.session != session.name.removesuffix(PARTIAL):
        raise VerifyError(_ANOTHERS, where=str(session), code="PR0706")
    return manifest


def _small(path: Path) -> bytes:
    try:
        with files.open_plain(path) as file:
            data = file.read(LARGEST + 1)
    except OSError as exc:
        raise VerifyError(f"cannot read it: {exc.strerror or exc}", where=str(path), code="PR0706") from exc
    if len(data) > LARGEST:
        raise VerifyError(f"larger than {LARGEST >> 20} MB: not a manifest", where=str(path), code="PR0706")
    return data


def facts(folder: Path) -> tuple[SessionFacts, ...]:
    """Return the sessions of a backup folder, oldest first; none if it does not exist. Foreign files are left out."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return ()
    except OSError as exc:
        hint = "name another folder, or make this one readable for this user"
        raise TargetError(
            f"cannot read the folder: {exc.strerror}", where=str(folder), hint=hint, code="PR0903"
        ) from exc
    return tuple(sorted((_facts_of(folder / name) for name in names), key=lambda one: one.age_key))


def _facts_of(path: Path) -> SessionFacts:
    try:
        manifest = read(path)
    except VerifyError as exc:
        return _unreadable(path, exc)
    ahead = manifest.server.clock_ahead if manifest.server else 0.0
    return SessionFacts(
        name=path.name,
        state=_state(path, manifest),
        taken=_server_time(manifest.started, ahead),
        verified=verified_level(path),
        tables=len(manifest.tables),
        rows=manifest.rows,
        bytes=manifest.bytes,
        plan=manifest.plan,
        run=manifest.run,
        database=manifest.server.database if manifest.server else "",
        clock_ahead=ahead,
    )


def _server_time(started: datetime, ahead: float) -> datetime:
    """Return when a session began; by the clock of the database server if planrun's was wrong."""
    if abs(ahead) <= SKEW.total_seconds():
        return started
    with contextlib.suppress(OverflowError):
        return started - timedelta(seconds=ahead)
    return started


def _unreadable(path: Path, exc: VerifyError) -> SessionFacts:
    """Return the facts of a folder whose manifest cannot be read: damaged if it has the name of a session, else
    foreign."""
    foreign = path.is_symlink() or exc.message == _ANOTHERS or not os.path.lexists(path / MANIFEST)
    taken = None if foreign else _date_in(path.name)
    return SessionFacts(name=path.name, state="damaged" if taken else "foreign", taken=taken)


def _date_in(name: str) -> datetime | None:
    """Return when a session of this name was taken, None if the name is not that of a session."""
    with contextlib.suppress(ValueError):  # backup_2025-13-99T99-99-99-000Z has the form but is not a date
        return session_moment(name) if is_session_name(name) else None
    return None


def _state(path: Path, manifest: Manifest) -> str:
    if path.name.endswith(PARTIAL) or manifest.state != "complete":
        with _lock_of(path) as held:
            return "partial" if held else "writing"
    if os.path.lexists(path / DAMAGED):
        return "damaged"
    return "complete" if all(map(_as_large, _paths(path, manifest), manifest.files.values())) else "damaged"


def _paths(path: Path, manifest: Manifest) -> list[Path]:
    return [path / name for name in manifest.files]


def _as_large(path: Path, file: File) -> bool:
    try:
        return path.lstat().st_size == file.bytes and not path.is_symlink()
    except OSError:
        return False


def verified_level(session: Path) -> int:
    """Return the highest level that a verification of this session passed; 0 if there was none."""
    try:
        level = json.loads(_small(session / VERIFIED))["level"]
    except (VerifyError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return level if type(level) is int and 0 <= level <= 3 else 0


def record_verified(session: Path, level: int, *, at: datetime, by: str) -> None:
    """Record next to the manifest that a verification of this level passed; a lower level does not replace it."""
    if level >= verified_level(session):
        files.write_text(session / VERIFIED, _note({"level": level}, at, by))


def record_damage(session: Path, why: str, *, at: datetime, by: str) -> None:
    """Record that the session has changed, so that it never counts as good."""
    with contextlib.suppress(TargetError):  # the verification itself reports a folder that cannot be written
        files.write_text(session / DAMAGED, _note({"why": why}, at, by))


def _note(data: Mapping[str, Any], at: datetime, by: str) -> str:
    moment = at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return json.dumps({"format_version": 1, **data, "at": moment, "by": by}) + "\n"


def clear_damage(session: Path) -> None:
    with contextlib.suppress(OSError):
        (session / DAMAGED).unlink()


# ------------------------------------------------------------------ removing one


def prune(
    folder: Path, names: tuple[str, ...], cancel: Cancel | None = None, *, by_name: bool = False
) -> dict[str, Any]:
    """Remove these sessions one after the other; return {"removed": names}. Raises TargetError as `remove` does.

    The folder may have changed since the decision: the newest complete session of each plan and database, and the
    newest that was restored and compared, stay unless a person named them (`by_name`).
    """
    if not by_name and (last := sorted(last_ones(facts(folder)) & set(names))):
        raise TargetError(
            f"the last good or the last proved session is among them: none is removed: {', '.join(last)}",
            where=str(folder),
            code="PR0713",
        )
    removed: list[str] = []
    for name in names:
        if cancel is not None:
            cancel.check()  # between two sessions, so that the remaining ones are complete
        try:
            remove(folder, name)
        except TargetError as exc:
            exc.message += f" ({len(removed)} of {len(names)} sessions were removed before)"
            raise
        removed.append(name)
    return {"removed": removed}


def last_ones(found: Sequence[SessionFacts]) -> set[str]:
    """Return the newest complete session of each plan and database, and the newest that passed level 3."""
    complete = sorted((one for one in found if one.state == "complete"), key=lambda one: one.age_key)
    newest = {(one.plan, one.database): one.name for one in complete}
    proved = {(one.plan, one.database): one.name for one in complete if one.verified >= PROVED}
    return {*newest.values(), *proved.values()}


def remove(folder: Path, name: str) -> None:
    """Remove a session, or the leftover of an interrupted one. Raises TargetError if it is neither.

    It checks again: a plain folder inside `folder`, a manifest of planrun for exactly this name, no living
    writer.
    """
    path = folder / name
    if not is_session_name(name.removesuffix(PARTIAL)):
        raise TargetError("not the name of a session: not removed", where=str(path), code="PR0713")
    try:
        read(path)
    except VerifyError as exc:
        raise TargetError(
            f"not removed, because planrun did not make this session: {exc.message}", where=str(path), code="PR0713"
        ) from exc
    with _lock_of(path) as held:
        if not held:
            raise TargetError("another process is writing this session: not removed", where=str(path), code="PR0713")
        _remove(path)
    files.sync(folder)


def _remove(path: Path) -> None:
    """Rename the folder first and remove the manifest last, so that an interrupted removal leaves a recognisable
    leftover."""
    doomed = path if path.name.endswith(PARTIAL) else path.with_name(path.name + PARTIAL)
    with files.translate_errors("remove", path):
        path.rename(doomed)
        for entry in list(doomed.iterdir()):
            if entry.name == MANIFEST:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        # without a manifest the folder could not be recognised; under this name the next backup removes it
        bare = doomed.with_name(f".planrun-{secrets.token_hex(8)}")
        doomed.rename(bare)
        (bare / MANIFEST).unlink()
        bare.rmdir()


@contextlib.contextmanager
def _lock_of(path: Path) -> Iterator[bool]:
    """Try to lock a session's manifest, and hold the lock if that succeeds."""
    with files.translate_errors("read", path / MANIFEST):
        fd = os.open(path / MANIFEST, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield files.try_lock(fd)
    finally:
        os.close(fd)
