"""Make a backup: take one snapshot, count and dump every table from it, and seal the session when it is complete."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from runner import files, tools
from runner.backup import attachments, needs, sessions, summary
from runner.backup.dumpfile import Dumper, measure, title
from runner.backup.manifest import Attachment, File, Left, Manifest, Need, Table
from runner.backup.snapshot import Conn, Snapshot
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.database.worker_pool import WorkerPool
from runner.errors import TargetError
from runner.model import Backup, Content, Dump
from runner.progress import Report, Tally
from runner.table_name import TableName


def backup(
    action: Backup,
    connections: Connections,
    *,
    run: str = "",
    plan: str = "",
    cancel: Cancel | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Make one session and return its content: session, tables, rows, bytes, left_out, files; for a report, measures
    (rows, bytes and seconds of each table) and the versions of server and pg_dump.

    `session` is "" if every table is empty or missing: then there is nothing to keep.
    Raises TargetError; in that case everything written is removed, and older sessions stay as they were.
    """
    writing = sessions.begin(Path(action.to), started=datetime.now(UTC), run=run, plan=plan)
    try:
        with (
            writing.explain_errors(),
            (cancel or Cancel()).child() as own,
            Snapshot(connections, action.connection, action.facts, own) as snapshot,
            tools.access(connections.words(action.connection), connections.env, snapshot.encoding) as door,
        ):
            tallies = _tallies(action, snapshot, progress or _silent)
            dumper = Dumper(writing.path, door, snapshot.id, action.compress, own, tallies.written)
            manifest, made = _Work(action, snapshot, dumper, own, tallies).dump_all(writing)
        if not made:
            writing.discard()
            return _outputs("", manifest, made)
        with writing.explain_errors():
            path = writing.seal(manifest, made)
    except BaseException:
        writing.discard()
        raise
    return _outputs(str(path), manifest, made)


def _silent(done: int, total: int, unit: str, what: str) -> None:
    pass


@dataclass(frozen=True)
class _Tallies:
    """What is counted by a checksum in the database, and what is written, by table or by the file of many."""

    counted: Tally
    written: Tally
    say: Callable[[str], object]


_STRETCH = {"custom": 0.3, "directory": 0.3}
"""Bytes that pg_dump writes for each byte of a table, as it compresses these formats; known better after a table."""


def _tallies(action: Backup, snapshot: Snapshot, report: Report) -> _Tallies:
    sizes = {name: int(row["bytes"]) for name, row in snapshot.facts.items()}
    tables = [each.full_name for dump in action.dumps for each in ([dump] if dump.name else dump.holds)]
    counted = {name: sizes.get(name, 0) for name in tables}
    files = {
        dump.full_name if dump.name else dump.file: sum(sizes.get(each.full_name, 0) for each in dump.holds)
        or sizes.get(dump.full_name, 0)
        for dump in action.dumps
    }
    return _Tallies(
        Tally("counting", counted, report),
        Tally("writing", files, report, stretch=_STRETCH.get(action.dumps[0].format, 1.0) if action.dumps else 1.0),
        lambda what: report(0, 0, "", what),
    )


def _outputs(session: str, manifest: Manifest, made: Mapping[str, File]) -> dict[str, Any]:
    return {
        "session": session,
        "tables": [{"schema": t.schema, "name": t.name, "rows": t.rows, "file": t.file} for t in manifest.tables],
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "left_out": [{"schema": o.schema, "name": o.name, "reason": o.reason} for o in manifest.left_out],
        "files": sorted(set(made) - {sessions.SUMMARY}),
        "measures": [
            {"schema": t.schema, "name": t.name, "rows": t.rows, "bytes": t.bytes or None, "seconds": t.seconds}
            for t in manifest.tables
        ],
        "server": manifest.server.version if manifest.server else "",
        "pg_dump": manifest.pg_dump,
    }


@dataclass(frozen=True)
class _Counted:
    """A table's content in the snapshot, and how long it took to count and dump it."""

    rows: int
    checksum: str
    seconds: float
    negative_zero: bool = False


_INSERTS = "--inserts"
"""pg_dump's way to write rows that loses the sign of a zero; without it they are a COPY."""

Task = Callable[[Conn], object]
"""A task for one worker's connection."""


class _Work:
    """What the workers of one backup share."""

    def __init__(self, action: Backup, snapshot: Snapshot, dumper: Dumper, cancel: Cancel, tallies: _Tallies) -> None:
        self._action, self._snapshot, self._dumper = action, snapshot, dumper
        self._cancel, self._tallies = cancel, tallies
        self._lock = threading.Lock()
        self._files: dict[str, dict[str, File]] = {}
        self._counted: dict[TableName, _Counted] = {}
        self._left = [Left(schema=o.schema, name=o.name, reason=o.reason) for o in action.left_out]

    def dump_all(self, writing: sessions.Writing) -> tuple[Manifest, dict[str, File]]:
        """Dump everything; return the manifest and the files, or no files if no table is left."""
        together = [dump for dump in self._action.dumps if self._is_shared(dump) and self._there(dump)]
        each = [dump for dump in self._action.dumps if not self._is_shared(dump)]
        first = [task for dump in each for task in self._first(dump)]
        tasks = [task for dump in each for task in self._tasks(dump)]
        self._prepare(together)
        tasks += [partial(self._table, dump) for dump in together]
        for phase in (first, tasks):
            self._run(phase)
        manifest = self._manifest(writing.manifest)
        made = {name: file for each in self._files.values() for name, file in each.items()}
        if made:
            made |= _write_text(writing.path / needs.FILE, needs.as_file(manifest.needs))
            made |= _write_text(writing.path / attachments.FILE, attachments.as_file(manifest.attachments))
            page = summary.page(manifest, *([name] if name in made else [] for name in (needs.FILE, attachments.FILE)))
            files.write_text(writing.path / sessions.SUMMARY, page)
            made[sessions.SUMMARY] = measure(writing.path / sessions.SUMMARY)
        return manifest, made

    def _is_shared(self, dump: Dump) -> bool:
        """Say whether one pg_dump serves this table and others."""
        return bool(dump.rows or (dump.name and self._action.archives))

    def _prepare(self, together: Sequence[Dump]) -> None:
        """Count the rows of tables that share a pg_dump, which writes their definitions, or their whole archives."""
        if not together:
            return
        counts = [partial(self._measure, dump) for dump in together]
        if self._action.archives:
            self._run(counts)
            self._run([partial(self._fill, dumps) for dumps in self._groups(together)])
        else:
            self._refuse_other_columns(together)
            self._run([partial(self._define, together), *counts])

    def _run(self, tasks: Sequence[Callable[[Conn], object]]) -> None:
        WorkerPool(self._action.jobs, self._snapshot.open_reader, self._cancel).work_off(tasks)

    def _groups(self, together: Sequence[Dump]) -> list[Sequence[Dump]]:
        """Return the tables of each pg_dump: one for all if it has several jobs itself, else one for each worker."""
        wanted = [dump for dump in together if not self._is_left_out(self._counted[dump.full_name])]
        count = 1 if any(word.startswith("--jobs=") for word in self._action.archives) else self._action.jobs
        return [some for at in range(count) if (some := wanted[at::count])]

    def _fill(self, dumps: Sequence[Dump], conn: Conn) -> None:
        self._dumper.archive(self._action.archives, dumps, conn)

    def _is_left_out(self, counted: _Counted) -> bool:
        return self._action.skip_empty and not counted.rows

    def _refuse_other_columns(self, dumps: Sequence[Dump]) -> None:
        """Raise TargetError if columns were added, dropped or changed since: their values would not be written
        correctly."""
        found: dict[TableName, set[tuple[object, ...]]] = {}
        for row in self._snapshot.ask(self._action.holders, "looking at the columns"):
            columns = tuple((name, kind) for name, kind in row["columns"])
            one = (row["schema"], row["name"], columns, row["overriding"])
            found.setdefault(TableName(row["top_schema"], row["top_name"]), set()).add(one)
        for dump in dumps:
            if found.get(dump.full_name) != {(r.schema, r.name, r.columns, r.overriding) for r in dump.rows}:
                self._refuse_other_partitions(dump)
                raise TargetError("its columns have just changed", where=title(dump), hint="run again", code="PR0703")

    def _define(self, dumps: Sequence[Dump], conn: Conn) -> None:
        families = {dump.full_name: (dump.full_name, *dump.parts) for dump in dumps}
        self._dumper.define(self._action.definitions, families, conn)

    # -------------------------------------------------------------- the tasks

    def _first(self, dump: Dump) -> list[Task]:
        """Return the tasks that count before anything is written, because the counts decide whether INSERTs are
        possible."""
        return self._counts(dump) if not dump.name and _INSERTS in dump.argv else []

    def _tasks(self, dump: Dump) -> list[Task]:
        """Return the tasks of a dump: a table is counted, then dumped; the tables of a common dump are counted one by
        one."""
        if not dump.name:
            return [partial(self._write, dump), *(self._counts(dump) if _INSERTS not in dump.argv else ())]
        return [partial(self._table, dump)] if self._there(dump) else []

    def _counts(self, dump: Dump) -> list[Task]:
        return [partial(self._count, each) for each in dump.holds if self._there(each)]

    def _there(self, table: Dump | Content) -> bool:
        if table.full_name in self._snapshot.facts:
            return True
        self._leave(table, "dropped before the backup began")
        return False

    def _leave(self, table: Dump | Content, reason: str) -> None:
        with self._lock:
            self._left.append(Left(schema=table.schema, name=table.name, reason=reason))
        for tally in (self._tallies.counted, self._tallies.written):
            tally.complete([table.full_name], str(table.full_name))

    def _table(self, dump: Dump, conn: Conn) -> None:
        began = time.monotonic()
        if dump.full_name not in self._counted:
            self._measure(dump, conn)
        counted = self._counted[dump.full_name]
        if self._is_left_out(counted):
            del self._counted[dump.full_name]
            self._leave(dump, "empty")
        else:
            self._write(dump, conn)
            took = time.monotonic() - began + (counted.seconds if self._is_shared(dump) else 0)
            self._counted[dump.full_name] = replace(counted, seconds=took)

    def _measure(self, dump: Dump, conn: Conn) -> None:
        """Count a table that is dumped by itself. Raises TargetError if it has changed since `look`."""
        self._refuse_other_partitions(dump)
        self._count(Content(schema=dump.schema, name=dump.name, query=dump.content), conn)

    def _refuse_other_partitions(self, dump: Dump) -> None:
        """Raise TargetError if a partition was attached or detached since: its rows would be counted and not dumped."""
        facts = self._snapshot.facts[dump.full_name]
        changed = {TableName(*part) for part in facts["parts"]} ^ set(dump.parts)
        if changed:
            names = ", ".join(str(each) for each in sorted(changed))
            raise TargetError(
                f"its partitions have just changed: {names}", where=title(dump), hint="run again", code="PR0703"
            )

    def _count(self, table: Content, conn: Conn) -> None:
        """Count a table's rows and sum their content, in the snapshot."""
        began = time.monotonic()
        self._tallies.say(f"rows and content of {table.full_name}")
        with translate_errors(f"{table.schema}.{table.name}"), cancellable(conn, self._cancel):
            row = conn.execute(table.query).fetchall()[0]
        took = time.monotonic() - began
        counted = _Counted(int(row["rows"]), str(row["checksum"]), took, bool(row.get("negative_zero")))
        self._counted[table.full_name] = counted
        self._tallies.counted.complete([table.full_name], str(table.full_name))

    def _write(self, dump: Dump, conn: Conn) -> None:
        held = [dump.full_name, *(each.full_name for each in dump.holds)]
        if any(self._counted[each].negative_zero for each in held if each in self._counted):
            dump = replace(dump, argv=tuple(word for word in dump.argv if word != _INSERTS), format=_as_copy(dump))
        rows = self._counted[dump.full_name].rows if dump.name else 0
        self._files[dump.file] = self._dumper.write(dump, conn, rows)
        self._tallies.written.complete([dump.full_name if dump.name else dump.file], title(dump))

    # -------------------------------------------------------------- the manifest

    def _manifest(self, empty: Manifest) -> Manifest:
        tables = tuple(entry for dump in self._action.dumps for entry in self._entries(dump))
        definitions = "\n".join(str(self._snapshot.facts[t.full_name]["definition"]) for t in tables)
        dumps = self._action.dumps
        return replace(
            empty,
            finished=datetime.now(UTC),
            snapshot=self._snapshot.id,
            server=self._snapshot.server(),
            pg_dump=self._version(dumps[0].argv[0]) if dumps else "",
            schema_digest=hashlib.sha256(definitions.encode()).hexdigest(),
            format=dumps[0].format if dumps else "",
            compress=self._action.compress,
            tables=tables,
            left_out=tuple(sorted(self._left, key=lambda left: left.full_name)),
            needs=self._needs(tables),
            attachments=self._attachments(),
            rows=sum(table.rows for table in tables),
            bytes=sum(file.bytes for made in self._files.values() for file in made.values()),
        )

    def _entries(self, dump: Dump) -> list[Table]:
        if dump.file not in self._files:
            return []
        names = [dump.full_name] if dump.name else [each.full_name for each in dump.holds]
        return [self._entry(dump, name) for name in names if name in self._counted]

    def _entry(self, dump: Dump, name: TableName) -> Table:
        facts, counted, made = self._snapshot.facts[name], self._counted[name], self._files[dump.file]
        own = made.get(dump.file) or made[f"{dump.file}/toc.dat"]
        inside = [file.bytes for file_name, file in made.items() if file_name.split("/")[0] == dump.file]
        return Table(
            schema=name[0],
            name=name[1],
            file=dump.file,
            rows=counted.rows,
            checksum=counted.checksum,
            bytes=sum(inside) if dump.name else 0,
            sha256=own.sha256,
            post_data_at=self._dumper.cuts.get(dump.file),
            columns=tuple(facts["columns"]),
            references=tuple(TableName(*other) for other in facts["references"]),
            seconds=round(counted.seconds, 3),
        )

    def _version(self, program: str) -> str:
        return self._dumper.text((program, "--version")).decode().rpartition("(PostgreSQL) ")[2].split()[0]

    # -------------------------------------------------------------- what the tables need

    def _needs(self, tables: Sequence[Table]) -> tuple[Need, ...]:
        """Return the objects that the tables need and that no dump of this session creates."""
        if not tables:
            return ()
        query = needs.query(table.full_name for table in tables)
        rows = self._snapshot.ask(query, "looking for the objects that the tables need")
        return needs.collect([row for row in rows if not self._is_in_whole_dump(row)], self._program)

    def _attachments(self) -> tuple[Attachment, ...]:
        """Return the attachments of tables that are dumped one by one; a dump of a schema or database contains them."""
        server = self._snapshot.server()
        single = [dump.full_name for dump in self._action.dumps if dump.name and dump.file in self._files]
        if not single:
            return ()
        query = attachments.query(single, server.version_num // 10000)
        return tuple(
            Attachment(**row)
            for row in self._snapshot.ask(query, "looking for statistics and publications of the tables")
        )

    def _is_in_whole_dump(self, row: Mapping[str, Any]) -> bool:
        """Return whether a dump of schemas or of the database contains this table as well."""
        words = [word for dump in self._action.dumps if not dump.name for word in dump.argv]
        if row["kind"] in ("role", "extension") or not words:
            return bool(words) and row["kind"] == "extension" and not _schemas_of(words)
        schema = row["name"] if row["kind"] == "schema" else row["schema"]
        return not _schemas_of(words) or schema in _schemas_of(words)

    def _program(self, program: str, words: Sequence[str]) -> bytes:
        """Run pg_dump in the snapshot, or its pg_restore; return the output."""
        return self._dumper.text((str(Path(self._action.dumps[0].argv[0]).with_name(program)), *words))


def _as_copy(dump: Dump) -> str:
    return "copy" if dump.format == "insert" else dump.format


def _write_text(path: Path, text: str) -> dict[str, File]:
    """Write a file unless its text is empty; return it by name."""
    if not text:
        return {}
    files.write_text(path, text)
    return {path.name: measure(path)}


def _schemas_of(words: Iterable[str]) -> set[str]:
    """Return the schemas that the arguments of a pg_dump name; none means the whole database."""
    quoted = (word.removeprefix("--schema=") for word in words if word.startswith("--schema="))
    return {word[1:-1].replace('""', '"') for word in quoted}
