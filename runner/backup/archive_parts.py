"""Cut an archive of many tables into one for each. pg_dump runs once, and pg_restore reads each part.

The data stays as pg_dump compressed it. A custom archive is cut while pg_dump writes it; of a directory, the files are
moved. One pg_dump for each table would read the whole catalog each time: 80 ms, and 160 with 2,000 more tables.
Sources: pg_backup_custom.c (_StartData, _CustomWriteFunc, _EndData), pg_backup_directory.c (_ArchiveEntry).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from runner import files
from runner.backup.toc import Toc, TocEntry, UnknownArchive, read_toc
from runner.errors import TargetError

Deal = Callable[[Toc], Mapping[Path, Sequence[TocEntry]]]
"""Says which entries each part has; it may refuse by an exception, and then nothing is written."""

_DATA = 1
"""The byte before the rows of a table; other kinds of blocks are large objects."""


def cut_stream(chunks: Iterator[bytes], deal: Deal) -> None:
    """Write each part of a custom archive that comes as a stream. Memory: the table of contents, and one chunk.

    Raises UnknownArchive, or TargetError when it ends early.
    """
    stream = _Stream(chunks)
    toc = stream.toc()
    parts = _Parts(toc, deal(toc))
    with contextlib.closing(parts):
        while kind := stream.read(1):
            if kind[0] != _DATA:
                raise UnknownArchive(f"a block of kind {kind[0]}")
            number = stream.read(1 + toc.integer)
            out = parts.begin(int.from_bytes(number[1:], "little"))
            out.write(kind + number)
            _copy_pieces(stream, out, 1 + toc.integer)
        parts.finish()


def _copy_pieces(stream: _Stream, out: BinaryIO, width: int) -> None:
    """Copy the pieces of one block, each behind its length; the last one has none."""
    while size := int.from_bytes((head := stream.take(width))[1:], "little"):
        out.write(head)
        out.write(stream.take(size))
    out.write(head)


class _Parts:
    """The files of the parts, one of which is open: pg_dump writes the tables one after the other."""

    def __init__(self, toc: Toc, parts: Mapping[Path, Sequence[TocEntry]]) -> None:
        self._toc, self._parts = toc, parts
        self._path_of = {entry.number: path for path, entries in parts.items() for entry in entries if entry.has_data}
        self._places: dict[Path, dict[int, int]] = {path: {} for path in parts}
        for path, entries in parts.items():
            files.create(path, toc.part(entries, {}))
        self._path, self._open = Path(), None  # type: Path, BinaryIO | None

    def begin(self, number: int) -> BinaryIO:
        """Return the file that the data of an entry goes to, at its end. Raises TargetError for data of no entry."""
        path = self._path_of.get(number)
        if path is None:
            raise TargetError("the output of pg_dump contains rows of no table", code="PR0703")
        if path != self._path or self._open is None:
            self.close()
            self._path, self._open = path, path.open("ab")
        self._places[path][number] = self._open.tell()
        return self._open

    def finish(self) -> None:
        """Write where the data begins, as pg_dump does: pg_restore then seeks, and can restore with many jobs."""
        self.close()
        missing = [number for number, path in self._path_of.items() if number not in self._places[path]]
        if missing:
            raise TargetError("the output of pg_dump does not contain the rows of every table", code="PR0703")
        for path, entries in self._parts.items():
            with path.open("r+b") as file:
                file.write(self._toc.part(entries, self._places[path]))

    def close(self) -> None:
        if self._open:
            self._open.close()
        self._open = None


class _Stream:
    """What a program writes, read in pieces of any length."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._data, self._at = chunks, b"", 0

    def toc(self) -> Toc:
        """Return the table of contents. Its length stands nowhere: read on until it is whole."""
        while True:
            before = len(self._data)
            self._fill(2 * before + 1)
            try:
                toc = read_toc(self._data)
            except TargetError:
                if len(self._data) == before:
                    raise
            else:
                self._at = toc.size
                return toc

    def take(self, size: int) -> bytes:
        """Return so many bytes. Raises TargetError when there are fewer."""
        data = self.read(size)
        if len(data) < size:
            raise TargetError("the output of pg_dump is cut off", code="PR0703")
        return data

    def read(self, size: int) -> bytes:
        """Return so many bytes, or what is left of them."""
        end = self._at + size
        if end > len(self._data):
            self._data, self._at = self._data[self._at :], 0
            self._fill(size)
            end = size
        data = self._data[self._at : end]
        self._at += len(data)
        return data

    def _fill(self, size: int) -> None:
        found, length = [self._data], len(self._data)
        while length < size and (chunk := next(self._chunks, b"")):
            found.append(chunk)
            length += len(chunk)
        self._data = b"".join(found)


def cut_directory(whole: Path, deal: Deal) -> None:
    """Move the files of each part of a directory archive to a folder of its own. Raises UnknownArchive, TargetError."""
    toc = read_toc((whole / _TOC).read_bytes())
    parts = deal(toc)
    there = {file.name.partition(".dat")[0]: file for file in whole.iterdir() if file.name != _TOC}
    for folder, entries in parts.items():
        folder.mkdir(mode=0o700)
        files.create(folder / _TOC, toc.part(entries, {}))
        for file in _files(entries, there):
            file.rename(folder / file.name)
        files.sync(folder)


def _files(entries: Iterable[TocEntry], there: Mapping[str, Path]) -> Iterator[Path]:
    """Yield the files of entries; pg_dump adds the ending of a compression to the name that it notes."""
    for entry in entries:
        if entry.has_data:
            file = there.get(entry.file.removesuffix(".dat"))
            if file is None:
                raise TargetError("the output of pg_dump does not contain the rows of every table", code="PR0703")
            yield file


_TOC = "toc.dat"
