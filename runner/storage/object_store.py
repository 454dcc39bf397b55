"""Sessions in an object store (S3, Google Cloud Storage, Azure), by obstore.

Credentials come from the environment or the machine's role, as obstore reads them: AWS_*, GOOGLE_*, AZURE_*. A session
is the objects below `<place>/<session>/`. An object store cannot rename, so the manifest is written last, and only if
there is none: until then the objects count for nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from runner.backup.manifest import File, Manifest
from runner.backup.sessions import MANIFEST
from runner.errors import TargetError
from runner.files import SUMS

CLAIM = "writing.json"
"""An object that says which session is being written under this name. It is gone when the session is complete."""

_PART = 8 << 20
"""Bytes of a part of an upload. S3 takes 10,000 parts of at least 5 MB: files of up to 80 GB."""

_PARTS_AT_ONCE = 2
_RETRY = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_TIMEOUTS = {"timeout": "300s", "connect_timeout": "10s"}

_EXTRA = 'pip install "planrun[storage]"'


class ObjectStore:
    """A place in a bucket. Raises TargetError if obstore is missing or does not take the address."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self._obstore = _library()
        with self._explain("open"):
            self._store = self._obstore.store.from_url(
                self.place, client_options=_TIMEOUTS | _http(self.place), retry_config=_RETRY
            )

    def files(self, session: str) -> dict[str, int]:
        head = f"{session}/"
        with self._explain(f"list {session}"):
            found = [one for some in self._obstore.list(self._store, prefix=head) for one in some]
        return {str(one["path"]).removeprefix(head): int(one["size"]) for one in found}

    def read(self, session: str, name: str) -> Iterator[bytes]:
        with self._explain(f"read {session}/{name}"):
            for chunk in self._obstore.get(self._store, f"{session}/{name}").stream(min_chunk_size=1 << 20):
                yield bytes(chunk)

    @contextlib.contextmanager
    def begin(self, manifest: Manifest, text: bytes) -> Iterator[_Upload]:
        session = manifest.session
        self._claim(session, hashlib.sha256(text).hexdigest())
        upload = _Upload(self, session, text)
        try:
            yield upload
        except BaseException:
            with contextlib.suppress(TargetError):  # the first error is the one to report
                if MANIFEST not in self.files(session):
                    self.remove(session, [*upload.written, CLAIM])
            raise
        self.remove(session, [CLAIM])

    def _claim(self, session: str, digest: str) -> None:
        """Say that this session is being written. Raises TargetError if another one is, or was when it was killed."""
        text = json.dumps({"manifest_sha256": digest}).encode()
        if self.create(session, CLAIM, text):
            return
        if b"".join(self.read(session, CLAIM)) != text:
            raise TargetError(
                f"another session is written as {session}, or its writer was killed",
                where=self.place,
                hint=f"if nobody writes there, remove the objects below {self.place}/{session}/ and run again",
                code="PR1160",
            )

    def create(self, session: str, name: str, content: bytes) -> bool:
        """Write an object if there is none; return false if there is one."""
        with self._explain(f"write {session}/{name}"):
            try:
                self._obstore.put(self._store, f"{session}/{name}", content, mode="create", use_multipart=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def replace(self, session: str, name: str, content: bytes) -> None:
        with self._explain(f"write {session}/{name}"):
            self._obstore.put(self._store, f"{session}/{name}", content)

    def write(self, session: str, name: str, chunks: Iterable[bytes]) -> None:
        """Write an object in parts; an exception of the chunks ends the upload without an object."""
        path = f"{session}/{name}"
        # an exception inside ends the upload without an object; s3fs would commit it (fsspec/s3fs issue 154)
        upload = partial(self._obstore.open_writer, buffer_size=_PART, max_concurrency=_PARTS_AT_ONCE)
        with self._explain(f"write {path}"), upload(self._store, path) as writer:
            for chunk in chunks:
                writer.write(chunk)

    def remove(self, session: str, names: Iterable[str]) -> None:
        with self._explain(f"remove a part of {session}"), contextlib.suppress(FileNotFoundError):
            self._obstore.delete(self._store, [f"{session}/{name}" for name in names])

    @contextlib.contextmanager
    def _explain(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as exc:
            raise _translate(exc, f"cannot {doing}", self.place) from exc


class _Upload:
    def __init__(self, store: ObjectStore, session: str, manifest: bytes) -> None:
        self._store, self._session, self._manifest = store, session, manifest
        self.written: list[str] = []

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        self.written.append(name)
        self._store.write(self._session, name, chunks)

    def seal(self, sums: bytes, files: Mapping[str, File]) -> None:
        self.written.append(SUMS)
        self._store.replace(self._session, SUMS, sums)
        if self._store.create(self._session, MANIFEST, self._manifest):
            return
        if b"".join(self._store.read(self._session, MANIFEST)) != self._manifest:
            raise TargetError(
                f"meanwhile another session was written as {self._session}", where=self._store.place, code="PR1160"
            )


def _library() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise TargetError("object stores need a library that is not installed", hint=_EXTRA, code="PR1161") from None
    return obstore


def _http(place: str) -> dict[str, Any]:
    """Return the options for a server of one's own without TLS, which AWS_ALLOW_HTTP allows."""
    return {"allow_http": True} if os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true") else {}


_DENIED = ("403", "401", "Forbidden", "SignatureDoesNotMatch", "InvalidAccessKeyId", "AccessDenied")


def _translate(exc: Exception, doing: str, place: str) -> TargetError:
    """Return the error in a line: obstore adds the answer of the server and a Rust structure."""
    text = str(exc).partition("\n")[0].strip()
    kind = type(exc).__name__
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or any(word in text for word in _DENIED):
        hint = "check the credentials of the store in the environment, and their rights on the bucket"
        return TargetError(f"{doing}: the store refuses these credentials", where=place, hint=hint, code="PR1162")
    if isinstance(exc, FileNotFoundError):
        return TargetError(f"{doing}: there is no such object or bucket", where=place, code="PR1163")
    hint = "check the address and the network, then run again: what is there already is not written twice"
    return TargetError(f"{doing}: {_shorten(text)}", where=place, hint=hint, category="connection", code="PR1164")


def _shorten(text: str) -> str:
    """Return a message without the names of Rust types and without the query of a URL, which may hold a signature."""
    return re.sub(r"\?\S*", "?...", text)[:300]
