"""Read the dump files of a session as SQL text for psql, whatever their format.

Custom and directory archives are turned into text by pg_restore, csv rows become a COPY between the two halves of
their DDL; compressed files are decompressed on the way.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runner import files, tools
from runner.backup.dumptext import Cleaner, csv_inline, csv_rows
from runner.backup.manifest import Manifest, Table
from runner.backup.plaintext import one_line
from runner.cancel import Cancel
from runner.errors import TargetError, VerifyError
from runner.server import programs
from runner.sqltext import idents
from runner.table_name import TableName

ARCHIVES = ("custom", "directory")
_DAMAGED = ("damaged archive", "pg_restore ended", "pg_restore was killed")
"""How errors begin that show a damaged file; other errors, such as a missing program, do not."""


@dataclass(frozen=True)
class Unit:
    """One dump: a file or folder with its tables. `whole`: a dump of schemas or of a database, not of one table."""

    file: str
    tables: tuple[Table, ...]

    @property
    def whole(self) -> bool:
        return not self.tables[0].bytes


class DumpContents(NamedTuple):
    """The content of a dump: (schema, name) of every table, including partitions, and the roles that own something."""

    tables: frozenset[TableName]
    owners: frozenset[str]


def units(tables: Iterable[Table]) -> tuple[Unit, ...]:
    """Return the dumps of these tables; if possible, each follows the dumps of the tables that it refers to."""
    by_file: dict[str, list[Table]] = {}
    for table in tables:
        by_file.setdefault(table.file, []).append(table)
    file_of = {t.full_name: file for file, those in by_file.items() for t in those}
    ordered: dict[str, None] = {}

    def visit(file: str, above: frozenset[str]) -> None:
        for other in (file_of.get(pair) for table in by_file[file] for pair in table.references):
            if other and other not in above and other not in ordered:
                visit(other, above | {other})
        ordered.setdefault(file)

    for file in by_file:
        visit(file, frozenset({file}))
    return tuple(Unit(file, tuple(by_file[file])) for file in ordered)


def major_of(version: str) -> int:
    """Return the major version of a version such as 15.18 or 19beta1; 0 if it has none."""
    match = re.match(r"\d+", version)
    return int(match[0]) if match else 0


class Reader:
    """Reads the dumps of one session."""

    def __init__(self, session: Path, manifest: Manifest, cancel: Cancel) -> None:
        self._session, self._manifest, self._cancel = session, manifest, cancel

    def text(self, unit: Unit, cleaner: Cleaner) -> Iterator[bytes]:
        """Yield the SQL that creates and fills a unit's tables; the cleaner keeps the foreign keys."""
        if self._manifest.format == "csv":
            return self._csv(unit, cleaner)
        return cleaner.clean(self._blocks(unit))

    def cleaner(self, unit: Unit, *, owners: bool, attach: bool, schemas: Sequence[str] = ()) -> Cleaner:
        """Return the Cleaner for a unit. attach: attach a partition that is dumped alone to its parent."""
        table = unit.tables[0]
        plain = self._manifest.format in ("insert", "copy")
        return Cleaner(
            owners=owners,
            alone="" if attach or unit.whole else table.name,
            schemas=schemas,
            keys_from=(table.post_data_at or 0) if plain else 0,
        )

    def _blocks(self, unit: Unit) -> Iterator[bytes]:
        path = self._session / unit.file
        if self._manifest.format not in ARCHIVES:
            yield from files.decompress(path)
            return
        with self._pg_restore("--file=-", str(path)) as child:
            yield from child.chunks()

    def _pg_restore(self, *words: str) -> tools.Child:
        """Return pg_restore of the archive's version or the next one here, which reads it."""
        found = programs.pg_dump_for(major_of(self._manifest.pg_dump))
        env = tools.environment({}) | found.env | {"LC_ALL": "C"}
        return tools.Child((found.tool("pg_restore"), *words), env=env, cancel=self._cancel)

    def _csv(self, unit: Unit, cleaner: Cleaner) -> Iterator[bytes]:
        table = unit.tables[0]
        ddl = b"".join(files.decompress(self._session / ddl_name(table.file)))
        cut = table.post_data_at or 0
        yield from cleaner.clean([ddl[:cut]])
        head = f"COPY {table.full_name.sql} ({idents(table.columns)}) FROM stdin"
        yield f"{head} WITH (FORMAT csv, HEADER);\n".encode()
        yield from csv_inline(self._check_archive(files.decompress(self._session / table.file)))
        yield b"\\.\n"
        yield from cleaner.clean([ddl[cut:]])

    def _check_archive(self, blocks: Iterable[bytes], on_chunk: Callable[[int], object] = bool) -> Iterator[bytes]:
        for block in blocks:
            self._cancel.check()
            on_chunk(len(block))
            yield block

    # -------------------------------------------------------------- level 2

    def prove_readable(self, unit: Unit, on_chunk: Callable[[int], object] = bool) -> DumpContents:
        """Read a unit to its end and return its content. on_chunk: called with bytes of text that were read.

        Raises VerifyError if it is damaged or its content is not the expected one. pg_restore --list is not enough: it
        reads only the table of contents, and accepts a truncated archive.
        """
        try:
            found = self._read_twice(unit, on_chunk)
        except TargetError as exc:
            self._cancel.check()
            if not exc.message.startswith(_DAMAGED):
                raise
            raise VerifyError(
                f"cannot be read to its end: {exc.message}", where=unit.file, hint=exc.hint, code="PR0707"
            ) from exc
        missing = [t for t in unit.tables if ("TABLE", one_line(t.schema), one_line(t.name)) not in found.found]
        if missing:
            raise VerifyError(
                f"does not contain table {missing[0].schema}.{missing[0].name}", where=unit.file, code="PR0707"
            )
        tables = frozenset(TableName(schema, name) for kind, schema, name in found.found if kind == "TABLE")
        return DumpContents(tables, frozenset(found.owners))

    def _read_twice(self, unit: Unit, on_chunk: Callable[[int], object]) -> Cleaner:
        """Read a unit; read it again if the error looks like that of a damaged file.

        If pg_restore was killed for lack of memory, or the disk was full, the archive may be good: planrun must not
        reject it for a temporary problem of this machine.
        """
        try:
            return self._read_whole(unit, on_chunk)
        except TargetError as exc:
            self._cancel.check()
            if not exc.message.startswith(_DAMAGED):
                raise
            return self._read_whole(unit, on_chunk)

    def _read_whole(self, unit: Unit, on_chunk: Callable[[int], object]) -> Cleaner:
        table = unit.tables[0]
        if self._manifest.format == "csv":
            rows = csv_rows(self._check_archive(files.decompress(self._session / table.file), on_chunk)) - 1
            if rows != table.rows:
                raise VerifyError(f"contains {rows} rows, but {table.rows} were dumped", where=unit.file, code="PR0707")
            blocks = files.decompress(self._session / ddl_name(table.file))
        else:
            blocks = self._blocks(unit)
        cleaner = Cleaner()
        for _ in cleaner.clean(self._check_archive(blocks, on_chunk)):
            pass
        if not cleaner.ended:
            raise VerifyError("is cut off", where=unit.file, code="PR0707")
        rows = sum(each.rows for each in unit.tables)
        if self._manifest.format in ("copy", *ARCHIVES) and not unit.whole and cleaner.rows != rows:
            raise VerifyError(f"contains {cleaner.rows} rows, but {rows} were dumped", where=unit.file, code="PR0707")
        return cleaner

    def extensions(self, whole: Iterable[Unit]) -> set[str]:
        """Return the extensions that dumps of a database create themselves."""
        found: set[str] = set()
        for unit in whole:
            cleaner = Cleaner()
            for _ in cleaner.clean(self._blocks(unit)):
                pass
            found |= {name for kind, _, name in cleaner.found if kind == "EXTENSION"}
        return found


def ddl_name(file: str) -> str:
    """Return the name of the DDL file beside a csv file.

    >>> ddl_name("users.csv.gz")
    'users.schema.sql'
    """
    return file.removesuffix(".gz").removesuffix(".zst").removesuffix(".csv") + ".schema.sql"


@contextlib.contextmanager
def lock_session(session: Path) -> Iterator[None]:
    """Keep `prune` from removing a session while it is read."""
    import fcntl

    with files.translate_errors("read", session / "manifest.json"), files.open_plain(session / "manifest.json") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VerifyError(
                "another process is writing or removing this session", where=str(session), code="PR0706"
            ) from None
        yield
