"""Copy a session to another place, and read it back there before it counts as copied."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from runner.backup.manifest import LARGEST, File, Manifest, from_json
from runner.backup.sessions import DAMAGED, MANIFEST, VERIFIED
from runner.cancel import Cancel
from runner.errors import PlanrunError, TargetError, VerifyError
from runner.files import SUMS, read_sums
from runner.storage.address import SessionAddress
from runner.storage.store import Store, open_store

Progress = Callable[[int, int, str, str], None]
"""done, total, unit, what."""

_JOBS = 2
"""Files at a time. An upload keeps two parts of 8 MB in memory, a read 1 MB: about 40 MB together."""


@dataclass(frozen=True)
class _Session:
    """A session as it lies in a place: its manifest with its text, and the text of SHA256SUMS."""

    store: Store
    manifest: Manifest
    text: bytes
    sums: bytes

    @property
    def address(self) -> str:
        return str(SessionAddress(self.store.place, self.manifest.session))

    @property
    def files(self) -> Mapping[str, File]:
        return self.manifest.files

    def read(self, name: str, cancel: Cancel) -> Iterator[bytes]:
        """Yield a file of the manifest. Raises VerifyError at its end, or as soon as it is too long, if it differs."""
        wanted, found, size = self.files[name], hashlib.sha256(), 0
        for chunk in self.store.read(self.manifest.session, name):
            cancel.check()
            size += len(chunk)
            if size > wanted.bytes:
                break
            found.update(chunk)
            yield chunk
        if File(bytes=size, sha256=found.hexdigest()) != wanted:
            raise VerifyError(
                f"{name}: its content has changed",
                where=self.address,
                hint="this session cannot be used",
                code="PR0710",
            )


def copy(
    source: SessionAddress, to: str, cancel: Cancel | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Copy a session to another place; return session (its address there), files, bytes and copied (false: was there).

    Each file is compared with the manifest while it is read, and once more as it lies in the other place. Raises
    VerifyError for a session that has changed, TargetError for a place that fails, or that has another session of this
    name. What was written is then removed, and the session does not count there.
    """
    cancel = cancel or Cancel()
    session = _open(open_store(source.place), source.session)
    _refuse_damaged(session)
    target = open_store(to)
    there = target.files(session.manifest.session)
    if MANIFEST in there:
        _refuse_another(session, target)
    else:
        with target.begin(session.manifest, session.text) as upload:
            _each(session, lambda name: upload.write(name, session.read(name, cancel)), "copied", cancel, progress)
            upload.seal(session.sums, session.files)
    copied = _open(target, session.manifest.session)
    _each(copied, lambda name: _consume(copied.read(name, cancel)), "read back", cancel, progress)
    _copy_proof(session, target)
    return {
        "session": copied.address,
        "files": len(session.files),
        "bytes": sum(file.bytes for file in session.files.values()),
        "copied": MANIFEST not in there,
    }


def _open(store: Store, name: str) -> _Session:
    """Read the manifest of a session. Raises VerifyError if there is none, or it is not what SHA256SUMS says."""
    where = str(SessionAddress(store.place, name))
    if MANIFEST not in store.files(name):
        raise VerifyError("there is no complete session here", where=where, code="PR0706")
    text, sums = (_small(store, name, file) for file in (MANIFEST, SUMS))
    manifest = from_json(text, where)
    if manifest.session != name or manifest.state != "complete":
        raise VerifyError("this manifest belongs to another session", where=where, code="PR0706")
    if _sums(sums, where).get(MANIFEST) != hashlib.sha256(text).hexdigest():
        raise VerifyError(f"{MANIFEST}: its content has changed", where=where, code="PR0710")
    return _Session(store, manifest, text, sums)


def _small(store: Store, session: str, name: str) -> bytes:
    data = bytearray()
    for chunk in store.read(session, name):
        data += chunk
        if len(data) > LARGEST:
            raise VerifyError(f"{name}: larger than {LARGEST >> 20} MB", where=store.place, code="PR0706")
    return bytes(data)


def _sums(text: bytes, where: str) -> dict[str, str]:
    try:
        return read_sums(text.decode())
    except ValueError as exc:
        raise VerifyError(f"{SUMS}: {exc}", where=where, code="PR0710") from exc


def _refuse_damaged(session: _Session) -> None:
    if DAMAGED in session.store.files(session.manifest.session):
        raise VerifyError(
            "a verification found this session damaged: it is not copied", where=session.address, code="PR0710"
        )


def _refuse_another(session: _Session, target: Store) -> None:
    """Raise TargetError if the session of this name in the other place is not the same one."""
    if _small(target, session.manifest.session, MANIFEST) != session.text:
        raise TargetError(
            f"another session of the name {session.manifest.session} is there",
            where=target.place,
            hint="copy to another place",
            code="PR1160",
        )


def _each(session: _Session, act: Callable[[str], None], what: str, cancel: Cancel, progress: Progress | None) -> None:
    """Do something with every file, a few at a time; the first error stops the others."""
    total, done = sum(file.bytes for file in session.files.values()), 0
    largest_first = sorted(session.files, key=lambda name: -session.files[name].bytes)
    with cancel.child() as own, ThreadPoolExecutor(_JOBS) as pool:

        def one(name: str) -> str:
            own.check()
            act(name)
            return name

        try:
            for name in pool.map(one, largest_first):
                done += session.files[name].bytes
                if progress:
                    progress(done, total, "bytes", what)
            cancel.check()
        except PlanrunError as exc:
            own.cancel(exc)
            raise


def _consume(chunks: Iterable[bytes]) -> None:
    for _ in chunks:
        pass


def _copy_proof(session: _Session, target: Store) -> None:
    """Copy the record of the last verification: the bytes are the same, so that it holds there as well."""
    name = session.manifest.session
    if VERIFIED in session.store.files(name):
        target.replace(name, VERIFIED, _small(session.store, name, VERIFIED))
