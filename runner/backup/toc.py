"""Read the table of contents of an archive that pg_dump wrote in its custom format: every entry, exactly as it is.

No SQL text is searched: all fields have a length, so no name, comment or default can look like another entry.
Source: pg_backup_archiver.c of PostgreSQL 12 to 18 (ReadHead, ReadToc, ReadInt, ReadStr), pg_backup_custom.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from runner.errors import TargetError

KNOWN = frozenset({(1, 14), (1, 15), (1, 16)})
"""The known versions of the format: those of pg_dump 12 to 15, of 16, and of 17 and 18."""

_CUSTOM = 1
_INTEGERS_OF_THE_TIME = 7


class UnknownArchive(Exception):
    """The archive has a version whose fields planrun does not know."""


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
    object has none; "" means the default.
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


def read(data: bytes) -> tuple[TocEntry, ...]:
    """Return all entries in their order. Raises UnknownArchive, or TargetError if it is cut off or damaged."""
    try:
        return _Fields(data).entries()
    except (IndexError, ValueError) as exc:
        raise TargetError("the output of pg_dump does not contain the whole table of contents", code="PR0703") from exc


class _Fields:
    """The fields of an archive, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def entries(self) -> tuple[TocEntry, ...]:
        if self._take(5) != b"PGDMP":
            raise ValueError("no archive")
        self._version = self._byte(), self._byte()
        self._byte()  # the revision
        if self._version not in KNOWN:
            raise UnknownArchive(".".join(map(str, self._version)))
        self._integer, self._offset = self._byte(), self._byte()
        if self._byte() != _CUSTOM:
            raise ValueError("another format")
        self._skip_compression()
        for _ in range(_INTEGERS_OF_THE_TIME):
            self._number()
        for _ in ("database", "version of the server", "version of pg_dump"):
            self._text()
        return tuple(self._entry() for _ in range(self._number()))

    def _skip_compression(self) -> None:
        if self._version >= (1, 15):
            self._byte()
        else:
            self._number()

    def _entry(self) -> TocEntry:
        number, _ = self._number(), self._number()
        catalog, oid = int(self._text() or 0), int(self._text() or 0)
        name, kind, section = self._text() or "", self._text() or "", Section(self._number())
        definition, drop, _ = self._text() or "", self._text() or "", self._text()
        schema, tablespace, access_method = self._text(), self._text(), self._text()
        relation_kind = self._number() if self._version >= (1, 16) else 0
        owner, _ = self._text() or "", self._text()
        entry = TocEntry(
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
        )
        self._take(1 + self._offset)
        return entry

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
