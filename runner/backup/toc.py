"""Read the table of contents of an archive that pg_dump wrote, and write it with a part of its entries.

No SQL text is searched: all fields have a length, so no name, comment or default can look like another entry.
Source: pg_backup_archiver.c of PostgreSQL 12 to 18 (ReadHead, WriteToc, ReadInt, ReadStr, ReadOffset),
pg_backup_custom.c, pg_backup_directory.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from runner.errors import TargetError

KNOWN = frozenset({(1, 14), (1, 15), (1, 16)})
"""The known versions of the format: those of pg_dump 12 to 15, of 16, and of 17 and 18."""

_INTEGERS_OF_THE_TIME = 7
_AT = 2
_UNKNOWN = 1
_NO_DATA = 3
"""What a custom archive says about the data of an entry: its place is known, its place is unknown, there is none."""


class Format(IntEnum):
    """How an archive keeps its data: behind the table of contents, or in files beside it.

    pg_dump writes the number of a tar file into a directory (_CloseArchive in pg_backup_directory.c).
    """

    CUSTOM = 1
    DIRECTORY = 3


class UnknownArchive(Exception):
    """The archive has a version whose fields planrun does not know, or contains more than tables."""


class Section(IntEnum):
    """When an entry is restored; NONE: together with the entry before it."""

    NONE = 1
    PRE_DATA = 2
    DATA = 3
    POST_DATA = 4


@dataclass(frozen=True, kw_only=True)
class TocEntry:
    """One object of an archive.

    number: its number in the `needs` of other entries. catalog, oid: the OIDs of the catalog and of the object in it, 0
    for an object in no catalog, such as a comment. definition and drop: SQL. tablespace, access_method: None if the
    object has none; "" means the default. has_data: the archive has rows for it, in a directory in the file `file`.
    fields: the bytes of the entry up to its needs.
    """

    number: int
    catalog: int
    oid: int
    name: str
    kind: str
    section: Section
    definition: str
    drop: str
    schema: str | None
    tablespace: str | None
    access_method: str | None
    is_partitioned: bool
    owner: str
    needs: tuple[int, ...]
    has_data: bool
    file: str
    fields: bytes


@dataclass(frozen=True, kw_only=True)
class Toc:
    """A table of contents. head: all before its entries. size: its bytes, behind which a custom archive has the data.

    integer, offset: the bytes of a number, and of a place in the file.
    """

    head: bytes
    format: Format
    integer: int
    offset: int
    entries: tuple[TocEntry, ...]
    size: int

    def part(self, entries: Iterable[TocEntry], places: Mapping[int, int]) -> bytes:
        """Return a table of contents with some of the entries; needs outside of them are left out.

        places: the position in the file at which the data of an entry begins, by its number. It does not change the
        size of the result.
        """
        wanted = list(entries)
        inside = {entry.number for entry in wanted}
        made = [self.head, self.number(len(wanted))]
        for entry in wanted:
            made.append(entry.fields)
            made += (self._text(str(number)) for number in entry.needs if number in inside)
            made += (self.number(-1), self._place(entry, places.get(entry.number)))
        return b"".join(made)

    def _place(self, entry: TocEntry, place: int | None) -> bytes:
        if self.format is Format.DIRECTORY:
            return self._text(entry.file)
        state = _NO_DATA if not entry.has_data else _UNKNOWN if place is None else _AT
        return bytes([state]) + (place or 0).to_bytes(self.offset, "little")

    def number(self, value: int) -> bytes:
        """Return a number as the archive writes it: a byte for the sign, and the rest."""
        return bytes([value < 0]) + abs(value).to_bytes(self.integer, "little")

    def _text(self, value: str) -> bytes:
        data = value.encode(errors="surrogateescape")
        return self.number(len(data)) + data


def read_toc(data: bytes) -> Toc:
    """Return the table of contents that `data` begins with.

    Raises UnknownArchive, or TargetError if it is cut off or damaged.
    """
    try:
        return _Fields(data).toc()
    except (IndexError, ValueError) as exc:
        raise TargetError("the output of pg_dump does not contain the whole table of contents", code="PR0703") from exc


def read(data: bytes) -> tuple[TocEntry, ...]:
    """Return all entries in their order. Raises UnknownArchive, or TargetError if it is cut off or damaged."""
    return read_toc(data).entries


class _Fields:
    """The fields of an archive, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def toc(self) -> Toc:
        if self._take(5) != b"PGDMP":
            raise ValueError("no archive")
        self._version = self._byte(), self._byte()
        self._byte()  # the revision
        if self._version not in KNOWN:
            raise UnknownArchive(".".join(map(str, self._version)))
        self._integer, self._offset = self._byte(), self._byte()
        self._format = Format(self._byte())
        self._skip_compression()
        for _ in range(_INTEGERS_OF_THE_TIME):
            self._number()
        for _ in ("database", "version of the server", "version of pg_dump"):
            self._text()
        head = self._data[: self._at]
        entries = tuple(self._entry() for _ in range(self._number()))
        return Toc(
            head=head,
            format=self._format,
            integer=self._integer,
            offset=self._offset,
            entries=entries,
            size=self._at,
        )

    def _skip_compression(self) -> None:
        if self._version >= (1, 15):
            self._byte()
        else:
            self._number()

    def _entry(self) -> TocEntry:
        start = self._at
        number, has_data = self._number(), bool(self._number())
        catalog, oid = int(self._text() or 0), int(self._text() or 0)
        name, kind, section = self._text() or "", self._text() or "", Section(self._number())
        definition, drop, _ = self._text() or "", self._text() or "", self._text()
        schema, tablespace, access_method = self._text(), self._text(), self._text()
        relation_kind = self._number() if self._version >= (1, 16) else 0
        owner, _ = self._text() or "", self._text()
        fields = self._data[start : self._at]
        return TocEntry(
            number=number,
            catalog=catalog,
            oid=oid,
            name=name,
            kind=kind,
            section=section,
            definition=definition,
            drop=drop,
            schema=schema,
            tablespace=tablespace,
            access_method=access_method,
            is_partitioned=relation_kind == ord("p"),
            owner=owner,
            needs=self._needs(),
            has_data=has_data,
            file=self._place(),
            fields=fields,
        )

    def _place(self) -> str:
        if self._format is Format.DIRECTORY:
            return self._text() or ""
        self._take(1 + self._offset)
        return ""

    def _needs(self) -> tuple[int, ...]:
        found = []
        while (word := self._text()) is not None:
            found.append(int(word))
        return tuple(found)

    def _take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) != size:
            raise IndexError("cut off")
        self._at += size
        return data

    def _byte(self) -> int:
        return self._take(1)[0]

    def _number(self) -> int:
        negative = self._byte()
        value = int.from_bytes(self._take(self._integer), "little")
        return -value if negative else value

    def _text(self) -> str | None:
        """Return a text; bytes that are not UTF-8, of a database in SQL_ASCII, come back by `surrogateescape`."""
        size = self._number()
        return None if size < 0 else self._take(size).decode(errors="surrogateescape")
