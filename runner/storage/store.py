"""What a store of sessions can do. A session in it counts from the moment that its manifest is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from runner.backup.manifest import File, Manifest
from runner.units import is_url


class Upload(Protocol):
    """A session that is being written to a store."""

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write one file of the session. Raises TargetError; whatever the chunks raise leaves no file of this name."""
        ...

    def seal(self, sums: bytes, files: Mapping[str, File]) -> None:
        """Write SHA256SUMS, then the manifest; from then on the session counts. files: what was written.

        Raises TargetError.
        """
        ...


class Store(Protocol):
    """A place for sessions. Every method raises TargetError with the place, and why it failed."""

    place: str

    def files(self, session: str) -> dict[str, int]:
        """Return the size in bytes of each file of a session; none if there is no such session."""
        ...

    def read(self, session: str, name: str) -> Iterator[bytes]:
        """Yield the content of a file."""
        ...

    def begin(self, manifest: Manifest, text: bytes) -> AbstractContextManager[Upload]:
        """Begin a session; `text` is its manifest. Raises TargetError if another session of this name is being written.

        What an upload that fails has written is removed.
        """
        ...

    def replace(self, session: str, name: str, content: bytes) -> None:
        """Write a small file beside the manifest, which does not belong to the session's content."""
        ...


def open_store(place: str) -> Store:
    """Return the store at an address. Raises TargetError if its library is missing or the address is not valid."""
    if is_url(place):
        from runner.storage.object_store import ObjectStore

        return ObjectStore(place)
    from runner.storage.folder import Folder

    return Folder(place)
