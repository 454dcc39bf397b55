"""Copy the structure of a database, as far as another server can have it, and say what it cannot have.

pg_dump writes an archive in the original's snapshot; pg_restore reads it as a role without rights, which never runs the
archive's text as a superuser, nor as text of psql. What fails is left out with everything that rests on it, and named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import tools
from runner.backup import toc
from runner.backup.snapshot import Snapshot
from runner.backup.toc import Section, TocEntry
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.errors import TargetError
from runner.scratch.place import Database, Place
from runner.server import programs
from runner.server.programs import Programs
from runner.sqltext import ident
from runner.table_name import TableName

_DUMP = (
    "--schema-only",
    "--format=custom",
    "--compress=0",
    "--no-password",
    "--no-subscriptions",
    "--no-security-labels",
)
# verbose: only then does it name the entry of an error
_RESTORE = ("--no-password", "--no-tablespaces", "--verbose")
_GRANTS = frozenset({"ACL", "DEFAULT ACL"})
_ELSEWHERE = frozenset({"EXTENSION", "SUBSCRIPTION"})
"""Made in another way, or not at all."""
_NOT_HERE: Mapping[str, str] = {
    "USER MAPPING": "it would lead to another database",
    "EVENT TRIGGER": "only a superuser makes one, and nothing runs as one here",
}

_AVAILABLE = "select name from pg_catalog.pg_available_extensions"

_ENTRY = re.compile(r"from TOC entry (\d+);")
_ERROR = re.compile(r"error: could not execute query: ERROR:  (.*)")
_COMMAND = re.compile(r"Command was: (ALTER .* OWNER TO )?")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """What a scratch copy lacks: `what` is an object in words, such as `table public.shops`."""

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The structure of a database in a file, the programs that wrote it, and what is in it."""

    file: Path
    programs: Programs
    entries: tuple[TocEntry, ...]

    def part(self, wanted: Callable[[TocEntry, Section], bool]) -> list[TocEntry]:
        """Return the entries that are wanted, by themselves and by the section in which they are restored."""
        sections = {one.number: one.section for one in self.entries}
        return [one for one in self.entries if wanted(one, _section(one, sections))]


def _section(entry: TocEntry, sections: Mapping[int, Section]) -> Section:
    """Return when to restore an entry: a comment and such go with what they are about."""
    if entry.section is not Section.NONE:
        return entry.section
    return sections.get(entry.needs[0], Section.PRE_DATA) if entry.needs else Section.PRE_DATA


def dump(
    connections: Connections,
    name: str,
    snapshot: Snapshot,
    without: Iterable[TableName],
    into: Path,
    major: int,
    cancel: Cancel,
) -> Archive:
    """Write the structure as it is in the snapshot. without: tables that this role may not read.

    major: of the server that it is for. Raises TargetError.
    """
    with tools.access(connections.words(name), connections.env, "UTF8") as door:
        these = programs.pg_dump_for(snapshot.major, restore_into=max(major, snapshot.major))
        excluded = [f"--exclude-table={one.sql}" for one in without]
        argv = [these.tool("pg_dump"), *_DUMP, f"--snapshot={snapshot.id}", *excluded, f"--file={into}"]
        tools.call(
            [*argv, f"--dbname={door.conninfo}"],
            env={**door.env, **these.env}, cancel=cancel, pass_fds=door.pass_fds, hide=door.hide,
        )  # fmt: skip
    return Archive(file=into, programs=these, entries=toc.read(into.read_bytes()))


def extensions(place: Place, database: Database, wanted: Sequence[Mapping[str, str]]) -> list[LeftOut]:
    """Create the extensions that the server has, as the role that makes databases; return those that it lacks."""
    base, owner = {**place.words, "dbname": database.name}, ident(place.filler)
    lacking = list[LeftOut]()
    with place.open(base) as conn:
        there = {row["name"] for row in conn.execute(_AVAILABLE).fetchall()}
        for one in wanted:
            what = f"extension {one['name']}"
            if one["name"] not in there:
                lacking.append(
                    LeftOut(what=what, reason=f"PostgreSQL {place.programs.version} of the copy does not have it")
                )
                continue
            try:
                with translate_errors():
                    if one["schema"] not in ("public", "pg_catalog"):
                        conn.execute(
                            f"create schema if not exists {ident(one['schema'])} authorization {owner}".encode()
                        )
                    conn.execute(
                        f"create extension {ident(one['name'])} schema {ident(one['schema'])} cascade".encode()
                    )
            except TargetError as exc:
                place.cancel.check()
                lacking.append(LeftOut(what=what, reason=exc.message))
        for row in conn.execute("select fdwname::text as name from pg_catalog.pg_foreign_data_wrapper").fetchall():
            conn.execute(f"grant usage on foreign data wrapper {ident(row['name'])} to {owner}".encode())
    return lacking


class Restorer:
    """Restores parts of an archive into a scratch database. `left_out` is what could not be restored."""

    def __init__(self, archive: Archive, place: Place, database: Database) -> None:
        self.archive, self._place, self._database = archive, place, database
        self.left_out = [
            LeftOut(what=_name(one), reason=_NOT_HERE[one.kind]) for one in archive.entries if one.kind in _NOT_HERE
        ]
        self._failed = set[tuple[int, str]]()

    def schemas(self) -> None:
        """Create the schemas, and let every owner create objects in them until `finish`."""
        self._restore(self.archive.part(lambda one, section: one.kind == "SCHEMA"))
        if self._database.everyone:
            self._grant_database("grant create on database {} to {}")
            self._each_schema("grant create on schema {} to {}")

    def before_rows(self) -> None:
        self._restore(
            self.archive.part(lambda one, section: section is Section.PRE_DATA and one.kind not in _GRANTS | {"SCHEMA"})
        )

    def after_rows(self) -> None:
        """Restore indexes, constraints, triggers, policies, then grants."""
        self._restore(self.archive.part(lambda one, section: section > Section.PRE_DATA and one.kind not in _GRANTS))
        if self._database.everyone:
            self._restore(self.archive.part(lambda one, section: one.kind in _GRANTS))
            if not self._database.mighty:
                self._each_schema("revoke create on schema {} from {}")
                self._grant_database("revoke create on database {} from {}")

    def _grant_database(self, text: str) -> None:
        name, everyone = ident(self._database.name), ident(self._database.everyone)
        self._place.run(self._database.filler, text.format(name, everyone))

    def _each_schema(self, text: str) -> None:
        names = ["public", *(one.name for one in self.archive.entries if one.kind == "SCHEMA")]
        everyone = ident(self._database.everyone)
        with self._place.open(self._database.filler) as conn:
            for name in dict.fromkeys(names):
                conn.execute(text.format(ident(name), everyone).encode())

    def _restore(self, entries: Sequence[TocEntry]) -> None:
        wanted = [one for one in entries if one.kind not in _ELSEWHERE and one.kind not in _NOT_HERE]
        wanted = [one for one in wanted if not (one.kind == "COMMENT" and one.name.startswith("EXTENSION "))]
        if not wanted:
            return
        listed = self.archive.file.with_suffix(".list")
        listed.write_text("".join(f"{one.number};\n" for one in wanted))
        owners = () if self._database.everyone else ("--no-owner", "--no-privileges")
        by_number = {one.number: one for one in wanted}
        reader = _Reader(by_number, self._failed)
        with tools.access(self._database.filler, self._place.env, "UTF8") as door:
            these = max(self._place.programs, self.archive.programs, key=lambda one: one.major)
            argv = [these.tool("pg_restore"), *_RESTORE, *owners, f"--use-list={listed}"]
            done = tools.call(
                [*argv, f"--dbname={door.conninfo}", str(self.archive.file)],
                env={**door.env, **these.env}, cancel=self._place.cancel,
                pass_fds=door.pass_fds, hide=door.hide, emit=reader.hear, allowed=(0, 1),
            )  # fmt: skip
        reader.end()
        self.left_out += reader.found
        if done.code and not reader.heard:
            raise TargetError(
                f"pg_restore of the scratch copy ended with exit code 1: {done.messages.strip()}", code="PR0901"
            )


class _Reader:
    """Reads what pg_restore says of entries that it could not restore."""

    def __init__(self, entries: Mapping[int, TocEntry], failed: set[tuple[int, str]]) -> None:
        self._entries, self._failed = entries, failed
        self.found, self.heard = list[LeftOut](), False
        self._entry: TocEntry | None = None
        self._message = ""

    def hear(self, line: str) -> None:
        if entry := _ENTRY.search(line):
            self.end()
            self._entry = self._entries.get(int(entry[1]))
        elif error := _ERROR.search(line):
            self.heard = True
            self.end()
            self._message = error[1]
        elif command := _COMMAND.search(line):
            self._add(owner=bool(command[1]))

    def end(self) -> None:
        if self._message:
            self._add()

    def _add(self, *, owner: bool = False) -> None:
        message, self._message = self._message, ""
        if not message or self._entry is None or _is_expected(self._entry, message):
            return
        what = f"owner of {_name(self._entry)}" if owner else _name(self._entry)
        if (self._entry.number, what) not in self._failed:
            self._failed.add((self._entry.number, what))
            self.found.append(LeftOut(what=what, reason=message))


def _is_expected(entry: TocEntry, message: str) -> bool:
    """Return whether nothing is lost: a schema is there already, because an extension is in it."""
    return entry.kind == "SCHEMA" and "already exists" in message


def _name(entry: TocEntry) -> str:
    kind = {"ACL": "grants on", "DEFAULT ACL": "default grants", "FK CONSTRAINT": "foreign key"}.get(
        entry.kind, entry.kind.lower()
    )
    return f"{kind} {entry.schema}.{entry.name}" if entry.schema else f"{kind} {entry.name}"
