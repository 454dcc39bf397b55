"""Sessions in a folder, as backups write them: a partial one has another name, and a complete one appears at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner import files
from runner.backup import sessions
from runner.backup.manifest import File, Manifest


class Folder:
    """A folder of sessions; begin makes it if it is missing."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._path = Path(place)

    def files(self, session: str) -> dict[str, int]:
        path = self._path / session
        if not path.is_dir() or path.is_symlink():
            return {}
        found = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        with files.translate_errors("list", path):
            return {str(one.relative_to(path)): one.lstat().st_size for one in found}

    def read(self, session: str, name: str) -> Iterator[bytes]:
        path = self._path / session / name
        with files.translate_errors("read", path), files.open_plain(path) as file:
            while data := file.read(files.CHUNK):
                yield data

    @contextlib.contextmanager
    def begin(self, manifest: Manifest, text: bytes) -> Iterator[_Upload]:
        writing = sessions.begin_copy(self._path, manifest)
        try:
            yield _Upload(writing, text)
        except BaseException:
            writing.discard()
            raise

    def replace(self, session: str, name: str, content: bytes) -> None:
        files.write_text(self._path / session / name, content)


class _Upload:
    def __init__(self, writing: sessions.Writing, manifest: bytes) -> None:
        self._writing, self._manifest = writing, manifest

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        path = self._writing.path / name
        files.make_folder(path.parent)
        with files.Output(path) as output:
            for chunk in chunks:
                output.write(chunk)
            output.close()

    def seal(self, sums: bytes, files: Mapping[str, File]) -> None:
        self._writing.seal_copy(self._manifest, sums, files)
