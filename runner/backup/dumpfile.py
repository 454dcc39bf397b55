"""Write the output of one pg_dump to one or more files: stream, compress, checksum and check it.

Sources: PostgreSQL docs, pg_dump (--section, --snapshot, --strict-names) and COPY.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from runner import files, sqlfile, tools
from runner.backup import toc
from runner.backup.archive_parts import Deal, cut_directory, cut_stream
from runner.backup.definitions import CannotDealOut, Definition, deal_out, entries_of
from runner.backup.manifest import File
from runner.backup.plaintext import (
    END,
    EntryCheck,
    Portable,
    entry_comment,
    foreign_keys_last,
    one_line,
    post_data_last,
)
from runner.backup.rowtext import keep_stored_encoding, texts
from runner.backup.summary import ddl_name
from runner.cancel import Cancel
from runner.database.connections import translate_errors
from runner.database.copying import copy_out
from runner.database.deadlines import cancellable
from runner.errors import TargetError
from runner.model import Dump
from runner.names import patterns
from runner.progress import Tally
from runner.sqltext import literal
from runner.table_name import TableName
from runner.words import plural

_PLAIN = ("insert", "copy")
_LOOK = 1.0
"""Seconds between two looks at the size of a file that a program writes."""


def title(dump: Dump) -> str:
    return f"{dump.schema}.{dump.name}" if dump.name else dump.file


def _names(dumps: Sequence[Dump]) -> str:
    return title(dumps[0]) if len(dumps) == 1 else plural(len(dumps), "table")


def measure(path: Path) -> File:
    """Return size and checksum of a file, after it was flushed to disk."""
    files.sync(path)
    size, digest = files.digest(path)
    return File(bytes=size, sha256=digest)


class Dumper:
    """Writes dumps into a session's folder, from one snapshot; `write` may be called from several threads.

    door: how pg_dump reaches the database. compress: for plain text and csv; for archives it is in the argv.
    written: counts what is written of each table, by its name, or of a dump of many, by its file.
    `cuts` maps a file to the offset in its text where the second part begins (Table.post_data_at). `definitions`: the
    tables that have no pg_dump of their own; `_archives` has those whose archive is complete without one.
    """

    def __init__(
        self, folder: Path, door: tools.Access, snapshot: str, compress: str, cancel: Cancel, written: Tally
    ) -> None:
        self._folder, self._door, self._snapshot, self._compress = folder, door, snapshot, compress
        self._cancel, self._written = cancel, written
        self.cuts: dict[str, int] = {}
        self.definitions: dict[TableName, Definition] = {}
        self._archives: set[TableName] = set()

    def write(self, dump: Dump, conn: psycopg.Connection[Any], rows: int = 0) -> dict[str, File]:
        """Make one dump and return its files by name; `conn` uses the snapshot. Raises TargetError.

        rows: the number of rows of the table in the snapshot.
        """
        definition = self.definitions.get(dump.full_name)
        if dump.format == "csv":
            return self._csv(dump, conn, definition, rows)
        if dump.format not in _PLAIN:
            return self._archive(dump)
        return {dump.file: self._by_rows(dump, definition, conn, rows) if definition else self._plain(dump)}

    def program(self, argv: Sequence[str], *, feed: bool = False) -> tools.Child:
        """Start a libpq program; pg_dump gets its connection and snapshot here, all else is in `argv`."""
        door = self._door
        if Path(argv[0]).name == "pg_dump":
            argv = (*argv, f"--snapshot={self._snapshot}", "--no-password", f"--dbname={door.conninfo}")
        return tools.Child(argv, env=door.env, cancel=self._cancel, pass_fds=door.pass_fds, hide=door.hide, feed=feed)

    def text(self, argv: Sequence[str], given: bytes = b"") -> bytes:
        """Return the whole output of a program that gets `given` as its input."""
        with self.program(argv, feed=bool(given)) as child:
            if given:
                child.write(given)
                child.end_input()
            return b"".join(child.chunks())

    def define(
        self, argv: Sequence[str], families: Mapping[TableName, Sequence[TableName]], conn: psycopg.Connection[Any]
    ) -> None:
        """Let one pg_dump write the definitions of these tables and their partitions; `conn` uses the snapshot.

        If its table of contents cannot be distributed, `write` runs a pg_dump for each table. Raises TargetError.
        """
        named = _patterns(families)
        words = (f"--{word}={each}" for word in ("table", "exclude-table-data") for each in named)
        archive = self.text((*argv, *words))
        try:
            entries = toc.read(archive)
        except toc.UnknownArchive:
            return
        frame = self.text((str(Path(argv[0]).with_name("pg_restore")), "--file=-", "--use-list=/dev/null"), archive)

        def ask(query: str) -> list[dict[str, Any]]:
            return conn.execute(query).fetchall()

        with contextlib.suppress(CannotDealOut), translate_errors(), cancellable(conn, self._cancel):
            self.definitions |= deal_out(entries, frame, families, ask)

    def archive(self, argv: Sequence[str], dumps: Sequence[Dump], conn: psycopg.Connection[Any]) -> None:
        """Let one pg_dump write the archives of these tables; `conn` uses the snapshot. Raises TargetError.

        If its archive cannot be cut, `write` runs a pg_dump for each table.
        """
        families = {dump.full_name: (dump.full_name, *dump.parts) for dump in dumps}
        path_of = {dump.full_name: self._folder / dump.file for dump in dumps}
        argv = (*argv, *(f"--table={each}" for each in _patterns(families)))

        def deal(found: toc.Toc) -> dict[Path, list[toc.TocEntry]]:
            with translate_errors(), cancellable(conn, self._cancel):
                dealt = entries_of(found.entries, families, lambda query: conn.execute(query).fetchall())
            return {path_of[table]: entries for table, entries in dealt.items()}

        with contextlib.suppress(CannotDealOut, toc.UnknownArchive), files.translate_errors("write", self._folder):
            if dumps[0].format == "directory":
                self._cut_directory(argv, dumps, deal)
            else:
                with self.program(argv) as child:
                    cut_stream(self._count(child.chunks(), dumps), deal)
            self._archives |= set(families)

    def _cut_directory(self, argv: Sequence[str], dumps: Sequence[Dump], deal: Deal) -> None:
        with tempfile.TemporaryDirectory(prefix=".tables-", dir=self._folder) as folder:
            whole = Path(folder, "all")
            with self.program((*argv, f"--file={whole}")) as child, self._watch_growth(whole, dumps):
                child.finish()
            cut_directory(whole, deal)

    def _count(self, chunks: Iterator[bytes], dumps: Sequence[Dump]) -> Iterator[bytes]:
        keys = [dump.full_name for dump in dumps]
        for chunk in chunks:
            self._written.fill(keys, _names(dumps), len(chunk))
            yield chunk

    @contextlib.contextmanager
    def _watch_growth(self, path: Path, dumps: Sequence[Dump]) -> Iterator[None]:
        """Report how a file or folder grows that a program writes itself."""
        keys, ended = [dump.full_name if dump.name else dump.file for dump in dumps], threading.Event()

        def look() -> None:
            seen = 0
            while not ended.wait(_LOOK):
                now = files.size_so_far(path)
                self._written.fill(keys, _names(dumps), now - seen)
                seen = now

        thread = threading.Thread(target=look, name="planrun-growth", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    # -------------------------------------------------------------- plain text

    def _plain(self, dump: Dump) -> File:
        """Stream pg_dump's text into a file; in a split file the foreign keys come last, after the cut."""
        with files.Output(self._folder / dump.file, self._compress) as out:
            if not dump.split:
                self._stream(dump, out)
            else:
                self._stream(dump, out, "--section=pre-data", "--section=data")
                before, last = foreign_keys_last(self._text(dump, "--section=post-data"))
                out.write(before)
                self.cuts[dump.file] = out.plain
                out.write(last)
            return _file(out.close())

    def _text(self, dump: Dump, *sections: str) -> bytes:
        text = self.text((*dump.argv, *sections))
        return Portable()(text, last=True) if dump.portable else text

    def _stream(self, dump: Dump, out: files.Output, *sections: str) -> None:
        entry_check = EntryCheck(entry_comment("TABLE", dump.schema, dump.name) if dump.name else b"")
        portable = Portable() if dump.portable else None
        with self.program((*dump.argv, *sections)) as child:
            for data in child.chunks():
                entry_check.see(data)
                out.write(portable(data) if portable else data)
                self._report(len(data), dump)
        if portable:
            out.write(portable(b"", last=True))
        if not entry_check.found or not entry_check.complete:
            raise TargetError(
                f"the output of {child.program} does not contain the whole table", where=title(dump), code="PR0703"
            )

    def _by_rows(self, dump: Dump, definition: Definition, conn: psycopg.Connection[Any], rows: int) -> File:
        """Write the definition of this table from the common pg_dump, with the rows read by planrun's own connection in
        between."""
        before, after, *keys = definition.parts() if dump.split else definition.whole()
        portable = Portable() if dump.portable else _as_it_is
        written = 0
        with files.Output(self._folder / dump.file, self._compress) as out:
            out.write(portable(before))
            with translate_errors(title(dump)), keep_stored_encoding(conn):
                for table in dump.rows:
                    for text, count in texts(table, definition, conn, self._cancel, inserts=dump.format == "insert"):
                        written += count
                        out.write(portable(text))
                        self._report(len(text), dump, count, rows)
            out.write(portable(after, last=True))
            if dump.split:
                self.cuts[dump.file] = out.plain
                out.write(Portable()(keys[0], last=True) if dump.portable else keys[0])
            if written != rows:
                raise TargetError(
                    f"only {written} of {rows} rows arrived", where=title(dump), hint="run again", code="PR0703"
                )
            return _file(out.close())

    # -------------------------------------------------------------- csv, archives

    def _csv(
        self, dump: Dump, conn: psycopg.Connection[Any], definition: Definition | None, count: int
    ) -> dict[str, File]:
        """Write the rows by COPY through planrun's own connection, and the DDL to another file, cut where the rows
        belong."""
        ddl = ddl_name(dump.file)
        with files.Output(self._folder / ddl) as out:
            before, after = definition.around_rows() if definition else post_data_last(self._text(dump))
            out.write(before)
            self.cuts[dump.file] = out.plain
            if not definition:
                with translate_errors(title(dump)), cancellable(conn, self._cancel):
                    out.write(_sequences(dump, conn).encode())
            out.write(after)
            beside = _file(out.close())
        with files.Output(self._folder / dump.file, self._compress) as out:
            with translate_errors(title(dump)), keep_stored_encoding(conn):
                for rows in copy_out(conn, dump.copy, self._cancel):
                    data = b"".join(rows)
                    out.write(data)
                    self._report(len(data), dump, len(rows), count)
            return {dump.file: _file(out.close()), ddl: beside}

    def _archive(self, dump: Dump) -> dict[str, File]:
        """Let pg_dump write a custom file or a folder itself: only then its table of contents holds offsets."""
        path = self._folder / dump.file
        if dump.full_name not in self._archives:
            self._run_archive(dump, path)
        inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        return {each.relative_to(self._folder).as_posix(): measure(each) for each in inside}

    def _run_archive(self, dump: Dump, path: Path) -> None:
        with self.program((*dump.argv, f"--file={path}")) as child, self._watch_growth(path, [dump]):
            child.finish()
        listing = self.text((str(Path(dump.argv[0]).with_name("pg_restore")), "--list", str(path))).decode()
        if dump.name and f" TABLE {one_line(dump.schema)} {one_line(dump.name)} " not in listing:
            raise TargetError(
                "the archive that pg_dump wrote does not contain the table", where=title(dump), code="PR0703"
            )

    def _report(self, data: int, dump: Dump, rows: int = 0, of_rows: int = 0) -> None:
        self._written.add(dump.full_name if dump.name else dump.file, title(dump), data, rows, of_rows)


def _patterns(families: Mapping[TableName, Sequence[TableName]]) -> list[str]:
    return list(patterns(member for family in families.values() for member in family))


def _as_it_is(data: bytes, *, last: bool = False) -> bytes:
    return data


_SEQUENCES = sqlfile.read("pg_dump/sequences.sql")


def _sequences(dump: Dump, conn: psycopg.Connection[Any]) -> str:
    """Return the SQL that sets the positions of the table's sequences; pg_dump writes it only together with the
    rows."""
    made = []
    for row in conn.execute(_SEQUENCES, dump.full_name).fetchall():
        state = conn.execute(f"select last_value, is_called from {row['name']}").fetchall()[0]
        called = "true" if state["is_called"] else "false"
        made.append(f"SELECT pg_catalog.setval({literal(row['name'])}, {state['last_value']}, {called});\n")
    return "".join([*made, END]) if made else ""


def _file(written: files.Written) -> File:
    return File(bytes=written.bytes, sha256=written.sha256)
