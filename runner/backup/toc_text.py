"""Write entries of a table of contents as pg_dump and pg_restore write them into plain text.

Source: pg_backup_archiver.c of PostgreSQL 14 to 18 (_printTocEntry, _selectTablespace, _selectTableAccessMethod,
RestoreArchive); fmtId of string_utils.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from runner.backup.plaintext import one_line
from runner.backup.toc import TocEntry

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_OWNED = frozenset({"TABLE", "SEQUENCE"})
"""The kinds of entries that have an owner of their own, of those that pg_dump writes with a table."""


class EntryWriter:
    """Writes the entries of one text; it does not repeat a setting that is still in force.

    keywords: the words that are names only in quotes.
    """

    def __init__(self, keywords: frozenset[str]) -> None:
        self._keywords = keywords
        self._tablespace, self._access_method = None, None  # type: str | None, str | None

    def texts(self, entries: Iterable[TocEntry]) -> bytes:
        return b"".join(map(self.text, entries))

    def text(self, entry: TocEntry) -> bytes:
        """Return the SQL of an entry with the comment above it."""
        made = [self._settings(entry), comment(entry, entry.kind)]
        if entry.definition:
            made.append(f"{entry.definition}\n\n")
        if entry.is_partitioned and entry.access_method:
            method = self.name(entry.access_method)
            made.append(f"{_alter(entry)} SET ACCESS METHOD {method};\n\n")
        if entry.owner and entry.drop and entry.kind in _OWNED:
            made.append(f"{_alter(entry)} OWNER TO {self.name(entry.owner)};\n\n")
        return encode("".join(made))

    def _settings(self, entry: TocEntry) -> str:
        made = ""
        if entry.tablespace is not None and entry.tablespace != self._tablespace:
            value = self.name(entry.tablespace) if entry.tablespace else "''"
            made, self._tablespace = f"SET default_tablespace = {value};\n\n", entry.tablespace
        if entry.access_method and not entry.is_partitioned and entry.access_method != self._access_method:
            made += f"SET default_table_access_method = {self.name(entry.access_method)};\n\n"
            self._access_method = entry.access_method
        return made

    def name(self, name: str) -> str:
        """Return a name, in quotes where it needs them (fmtId)."""
        if _PLAIN_NAME.fullmatch(name) and name not in self._keywords:
            return name
        return '"' + name.replace('"', '""') + '"'


def comment(entry: TocEntry, kind: str, what: str = "") -> str:
    """Return the comment above an entry; what: `Data for ` above rows."""
    words = [
        f"{what}Name: {one_line(entry.name)}",
        f"Type: {kind}",
        f"Schema: {one_line(entry.schema or '-')}",
        f"Owner: {one_line(entry.owner or '-')}",
    ]
    if entry.tablespace:
        words.append(f"Tablespace: {one_line(entry.tablespace)}")
    return f"--\n-- {'; '.join(words)}\n--\n\n"


def qualified_name(table: TocEntry) -> str:
    """Return a table's name with its schema, quoted as pg_dump quotes it."""
    return table.drop.removeprefix("DROP TABLE ").removesuffix(";\n")


def _alter(entry: TocEntry) -> str:
    return "ALTER" + entry.drop.removeprefix("DROP").removesuffix(";\n")


def encode(text: str) -> bytes:
    """Return the bytes of a text of an archive, including bytes that were not UTF-8."""
    return text.encode(errors="surrogateescape")
