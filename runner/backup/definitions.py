"""The definitions of many tables from one pg_dump: its table of contents, distributed to the tables' files.

The catalogs say in the same snapshot, by OID, to which table an entry belongs; an entry in no catalog, such as a
comment, belongs to the entry that it depends on. No SQL text is searched.
Source: pg_backup_archiver.c (RestoreArchive: grants come last; _tocEntryRequired: an entry without a section is in
that of the entry before it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner import resources
from runner.backup.plaintext import COMPLETE
from runner.backup.toc import Section, TocEntry
from runner.backup.toc_text import EntryWriter, comment, encode, qualified_name
from runner.errors import TargetError
from runner.safesql.templates import Templates
from runner.table_name import TableName

ASKED = "select word from pg_catalog.pg_get_keywords() where catcode <> 'U'"
"""The query for the keywords that must be quoted when they are names."""

_OF_THE_DATABASE = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"})
_GRANTS = "ACL"
_FOREIGN_KEY = "FK CONSTRAINT"

Ask = Callable[[str], Sequence[Mapping[str, Any]]]


class CannotDealOut(Exception):
    """An entry belongs to none of the tables, or to more than one."""


@dataclass(frozen=True)
class Definition:
    """The entries of one table's file, and the beginning and end of every text."""

    entries: tuple[TocEntry, ...]
    sections: tuple[Section, ...]
    begin: bytes
    end: bytes
    keywords: frozenset[str]

    def whole(self) -> tuple[bytes, bytes]:
        """Return the SQL before the rows and the SQL after them."""
        write = EntryWriter(self.keywords)
        before = self.begin + write.texts(self._main(Section.PRE_DATA))
        after = write.texts([*self._main(Section.DATA, Section.POST_DATA), *self._grants()]) + self.end
        return before, after

    def parts(self) -> tuple[bytes, bytes, bytes]:
        """Return the SQL before the rows, the SQL after them up to the first foreign key, and the SQL from there on.

        The last text begins and ends like a whole text; it is empty if there is no foreign key.
        """
        write = EntryWriter(self.keywords)
        before = self.begin + write.texts(self._main(Section.PRE_DATA))
        after = write.texts([*self._main(Section.DATA), *self._grants()]) + self.end
        last = self._main(Section.POST_DATA)
        cut = next((at for at, entry in enumerate(last) if entry.kind == _FOREIGN_KEY), len(last))
        after += self.begin + EntryWriter(self.keywords).texts(last[:cut]) + self.end
        keys = self.begin + EntryWriter(self.keywords).texts(last[cut:]) + self.end if last[cut:] else b""
        return before, after, keys

    def around_rows(self) -> tuple[bytes, bytes]:
        """Return two whole texts: the SQL before the rows and the SQL after them."""
        before = EntryWriter(self.keywords).texts(self._main(Section.PRE_DATA))
        last = [*self._main(Section.DATA, Section.POST_DATA), *self._grants()]
        after = EntryWriter(self.keywords).texts(last)
        return self.begin + before + self.end, self.begin + after + self.end

    def _main(self, *wanted: Section) -> list[TocEntry]:
        pairs = zip(self.entries, self.sections, strict=True)
        return [entry for entry, section in pairs if section in wanted and entry.kind != _GRANTS]

    def _grants(self) -> list[TocEntry]:
        return [entry for entry in self.entries if entry.kind == _GRANTS]

    def heading(self, table: TableName) -> bytes:
        """Return the comment above a table's rows."""
        return encode(comment(self._table(table), "TABLE DATA", "Data for "))

    def name(self, table: TableName) -> bytes:
        """Return the name of a table of this file as SQL, quoted as in the rest of the text."""
        return encode(qualified_name(self._table(table)))

    def columns(self, names: Iterable[str]) -> bytes:
        """Return names as a list in SQL."""
        return encode(", ".join(map(EntryWriter(self.keywords).name, names)))

    def _table(self, table: TableName) -> TocEntry:
        return next(e for e in self.entries if e.kind == "TABLE" and (e.schema, e.name) == table)


def deal_out(
    entries: Sequence[TocEntry], frame: bytes, families: Mapping[TableName, Sequence[TableName]], ask: Ask
) -> dict[TableName, Definition]:
    """Return the definition of each table; it and its partitions, all in `families`, are in one file.

    entries: of the archive. frame: the output of pg_restore for no entry. ask: runs a query in the snapshot.
    Raises TargetError if a table is missing, CannotDealOut if an entry cannot be assigned: then each table needs a
    pg_dump of its own.
    """
    keywords = frozenset(str(row["word"]) for row in ask(ASKED))
    found = _by_table(entries, families, ask)
    at = frame.rfind(b"--\n-- " + COMPLETE.removeprefix(b"-- "))
    begin, end = frame[:at], frame[at:]
    return {
        table: Definition(tuple(e for e, _ in those), tuple(s for _, s in those), begin, end, keywords)
        for table, those in found.items()
    }


def entries_of(
    entries: Sequence[TocEntry], families: Mapping[TableName, Sequence[TableName]], ask: Ask
) -> dict[TableName, list[TocEntry]]:
    """Return the entries of each table's own archive: its own, and those that each archive of the database has.

    Arguments and errors are those of `deal_out`.
    """
    found = _by_table(entries, families, ask)
    dealt = {entry.number for those in found.values() for entry, _ in those}
    common = [entry for entry in entries if entry.number not in dealt]
    return {table: [*common, *(entry for entry, _ in those)] for table, those in found.items()}


def _by_table(
    entries: Sequence[TocEntry], families: Mapping[TableName, Sequence[TableName]], ask: Ask
) -> dict[TableName, list[tuple[TocEntry, Section]]]:
    top = {member: table for table, family in families.items() for member in family}
    found: dict[TableName, list[tuple[TocEntry, Section]]] = {table: [] for table in families}
    for entry, table, section in _with_owners(entries, _members(top, ask), top):
        found[table].append((entry, section))
    _refuse_missing(found, families)
    return found


def _members(top: Mapping[TableName, TableName], ask: Ask) -> dict[tuple[int, int], TableName]:
    names = list(top)
    query = Templates((resources.SQL,)).sql(
        "pg_dump/members.sql.j2", schemas=[one.schema for one in names], names=[one.name for one in names]
    )
    return {(row["catalog"], row["oid"]): top[TableName.of(row)] for row in ask(query)}


def _with_owners(
    entries: Iterable[TocEntry], members: Mapping[tuple[int, int], TableName], top: Mapping[TableName, TableName]
) -> Iterable[tuple[TocEntry, TableName, Section]]:
    """Yield each entry of a table with that table and its section."""
    owners: dict[int, TableName] = {}
    of_the_database: set[int] = set()
    section = Section.PRE_DATA
    for entry in entries:
        section = entry.section if entry.section is not Section.NONE else section
        if entry.kind in _OF_THE_DATABASE or of_the_database & set(entry.needs):
            of_the_database.add(entry.number)
            continue
        table = members.get((entry.catalog, entry.oid))
        above = {table} if table else {owners[number] for number in entry.needs if number in owners}
        if len(above) != 1:
            raise CannotDealOut(f"{entry.kind} {entry.name}")
        owners[entry.number] = above.pop()
        yield entry, owners[entry.number], section


def _refuse_missing(
    found: Mapping[TableName, Sequence[tuple[TocEntry, Section]]], families: Mapping[TableName, Sequence[TableName]]
) -> None:
    for table, family in families.items():
        there = {(entry.schema, entry.name) for entry, _ in found[table] if entry.kind == "TABLE"}
        if there != set(family):
            raise TargetError("the output of pg_dump does not contain the whole table", where=str(table), code="PR0703")
