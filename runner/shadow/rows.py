"""Load the rows: several tables at once from one snapshot, each table's indexes while the next is copied."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from runner.backup.snapshot import Snapshot
from runner.database.connections import WHO_CONNECTS, translate_errors
from runner.database.deadlines import cancellable
from runner.database.worker_pool import WorkerPool
from runner.errors import TargetError
from runner.refresh.records import StreamDigest
from runner.shadow.load_context import Conn, LoadContext, Row, groups, is_small
from runner.shadow.relay import relay
from runner.shadow.source import Source
from runner.sqltext import ident, idents, join_statements, qualified

Connections = tuple[Conn, Conn]
"""Connections to the source, in the snapshot, and to the target."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was copied. counts, streams: by table or partition, the number of rows and what the COPY sent. sums,
    source_counts: of the source, by root, where the streams prove nothing. xids: of the transactions that wrote the
    rows. sizes, seconds: by table or partition, the bytes that were sent, and how long that took."""

    counts: dict[str, int] = field(default_factory=dict)
    streams: dict[str, StreamDigest] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    source_counts: dict[str, int] = field(default_factory=dict)
    xids: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def of_roots(self, source: Source) -> dict[str, int]:
        """Return the number of rows of each root; that of a partitioned table is the sum over its partitions."""
        leaves = sorted(source.leaves_of.items())
        return {root: sum(self.counts.get(row["name"], 0) for row in rows) for root, rows in leaves}

    def measures(self, source: Source, schema: str) -> list[dict[str, Any]]:
        """Return rows, bytes and seconds of each root whose rows were copied; partitions may be copied side by side."""
        return [
            {
                "schema": schema,
                "name": root,
                "rows": sum(self.counts[name] for name in names),
                "bytes": sum(self.sizes[name] for name in names),
                "seconds": round(sum(self.seconds[name] for name in names), 3),
            }
            for root, rows in sorted(source.leaves_of.items())
            if (names := [row["name"] for row in rows if row["name"] in self.seconds])
        ]


def copy(load: LoadContext, source: Source, owners: Mapping[str, str], snapshot: Snapshot) -> Rows:
    """Copy all rows, the biggest table first. Other workers make a table's indexes while the next one is copied.

    So the source is read all the time, and no core is idle while another one sorts.
    owners: table -> the role that it belongs to, with whose rights its rows are written. Raises TargetError.
    """
    indexes = WorkerPool(load.action.jobs, load.open, load.cancel)
    work = _Copy(load, source, owners, indexes)
    summed = [row for row in source.roots if row["name"] not in load.empty and work.needs_sum(row)]
    work.expect(summed)
    tasks = [
        *(partial(work.copy_tables, rows) for rows in _groups(load, source.leaves, owners)),
        *(partial(work.sum_table, row) for row in summed),
    ]
    with indexes.workers():
        WorkerPool(load.action.jobs, partial(_open_both, load, snapshot), load.cancel).work_off(tasks)
    for row in source.facts:
        if not row["leaf"]:
            load.run(source.made.of_table.get(row["name"], ()), f"indexes of {load.display_name(row)}")
    load.run(source.made.attached, "indexes of partitioned tables")
    return work.rows


def _groups(load: LoadContext, leaves: Iterable[Row], owners: Mapping[str, str]) -> list[Sequence[Row]]:
    """Return the tables that are copied in one transaction, with the rights of one owner; the most bytes first."""
    of_owner: dict[str | None, list[Row]] = {}
    for row in leaves:
        of_owner.setdefault(owners.get(row["name"]), []).append(row)
    found = [rows for some in of_owner.values() for rows in groups(some, load.action.jobs)]
    return sorted(found, key=lambda rows: -sum(int(row["bytes"]) for row in rows))


@contextlib.contextmanager
def _open_both(load: LoadContext, snapshot: Snapshot) -> Iterator[Connections]:
    with snapshot.open_reader() as source, load.open() as target:
        yield source, target


class _Copy:
    """The tasks of the workers: its methods run in several threads at once. indexes: those that make indexes."""

    def __init__(self, load: LoadContext, source: Source, owners: Mapping[str, str], indexes: WorkerPool[Conn]) -> None:
        self._load, self._source, self._owners, self.rows = load, source, owners, Rows()
        self._indexes = indexes

    def expect(self, summed: Sequence[Row]) -> None:
        """Report what there is to do. summed: tables whose content is summed in the source."""
        load, of_table = self._load, self._source.made.of_table
        filled = [row for row in self._source.leaves if row["top"] not in load.empty]
        self._copied = load.tally("rows", {row["name"]: int(row["bytes"]) for row in filled})
        self._summed = load.tally("counting", {row["name"]: int(row["bytes"]) for row in summed})
        made = [(row, number) for row in filled for number, _ in enumerate(of_table.get(row["name"], ()))]
        self._indexed = load.tally("indexes", {(row["name"], number): int(row["bytes"]) for row, number in made})
        load.tally("keys and statistics", sizes_of_roots(load, self._source))

    def copy_tables(self, rows: Sequence[Row], connections: Connections) -> None:
        """Copy tables of one owner in one transaction, and let others make their indexes."""
        filled = [row for row in rows if row["top"] not in self._load.empty]
        if filled:
            self._copy(filled, *connections)
        self._indexes.add(partial(self._make_indexes, rows))

    def _make_indexes(self, rows: Sequence[Row], target: Conn) -> None:
        """Make the indexes of small tables together, and those of a large one one by one, because each takes long."""
        what = f"indexes of {self._load.display_names(rows)}"
        every = [
            ((row["name"], number), text)
            for row in rows
            for number, text in enumerate(self._source.made.of_table.get(row["name"], ()))
        ]
        self._load.progress(0, 0, "", what)
        for some in [every] if all(map(is_small, rows)) else [[one] for one in every]:
            self._load.run_on(target, [text for _, text in some], what)
            self._indexed.complete([key for key, _ in some], what)

    def _copy(self, rows: Sequence[Row], source: Conn, target: Conn) -> None:
        """Copy rows in a transaction with TRUNCATE, which lets them be written frozen."""
        owner = self._owners.get(rows[0]["name"])  # checks and generated columns run as who writes
        with self._explain(rows, owner), cancellable(target, self._load.cancel):
            target.execute(
                join_statements(["begin", *_as(owner), f"truncate {', '.join(self._only(row) for row in rows)}"])
            )
        for row in rows:
            with self._explain([row], owner):
                self.rows.counts[row["name"]] = self._copy_rows(row, source, target)
            self._copied.complete([row["name"]], self._load.display_name(row))
        with self._explain(rows, owner), cancellable(target, self._load.cancel):
            answer = target.execute(join_statements(["select pg_catalog.pg_current_xact_id()::text as xid", "commit"]))
            self.rows.xids.append(str(answer.fetchall()[0]["xid"]))

    @contextlib.contextmanager
    def _explain(self, rows: Sequence[Row], owner: str | None) -> Iterator[None]:
        """Say in an error which rows were copied, and with whose rights."""
        try:
            with translate_errors():
                yield
        except TargetError as exc:
            exc.where = exc.where or f"rows of {self._load.display_names(rows)}"
            if owner:
                exc.hint = exc.hint.replace(WHO_CONNECTS, f"{ident(owner)}, with whose rights the new table is filled")
            raise

    def _only(self, row: Row) -> str:
        return f"only {qualified(self._load.shadow, row['name'])}"

    def _copy_rows(self, row: Row, source: Conn, target: Conn) -> int:
        load = self._load
        columns = f" ({idents(row['columns'])})" if row["columns"] else ""
        form = self._format(row)
        digest = hashlib.sha256() if load.action.checksums and self.is_exact(row) else None
        began, self.rows.sizes[row["name"]] = time.monotonic(), 0
        rows = relay(
            source,
            target,
            f"copy {qualified(load.schema, row['name'])}{columns} to stdout (format {form})",
            f"copy {qualified(load.shadow, row['name'])}{columns} from stdin (format {form}, freeze)",
            load.cancel,
            partial(self._take, row, digest),
        )
        self.rows.seconds[row["name"]] = time.monotonic() - began
        if digest:
            sent = StreamDigest(columns=tuple(row["columns"]), format=form, sha256=digest.hexdigest())
            self.rows.streams[row["name"]] = sent
        return rows

    def _format(self, row: Row) -> str:
        return "binary" if row["binary"] and self._source.same_major else "text"

    def is_exact(self, row: Row) -> bool:
        """Return whether the copy, read back in the same way, must give the bytes that filled it."""
        return bool(row["plain"] and (row["exact"] or self._format(row) == "text"))

    def needs_sum(self, root: Row) -> bool:
        """Return whether the streams of a table, or of its partitions, are no proof of its content."""
        leaves = self._source.leaves_of[root["name"]]
        return self._load.action.checksums and not (leaves and all(map(self.is_exact, leaves)))

    def _take(self, row: Row, digest: Any, piece: Any, rows: int) -> None:
        if digest:
            digest.update(piece)
        self.rows.sizes[row["name"]] += len(piece)
        self._copied.add(row["name"], f"rows of {self._load.display_name(row)}", len(piece), rows, row["estimate"])

    def sum_table(self, row: Row, connections: Connections) -> None:
        """Sum the content of a source table in the snapshot, as a Compare will do it with the shadow."""
        load, source = self._load, connections[0]
        text = load.templates.sql("refresh/content.sql.j2", schema=load.schema, name=row["name"], parts=not row["leaf"])
        with translate_errors(f"content of {load.display_name(row)}"), cancellable(source, load.cancel):
            found = source.execute(text).fetchall()[0]
        self.rows.sums[row["name"]] = str(found["checksum"])
        self.rows.source_counts[row["name"]] = int(found["rows"])
        self._summed.complete([row["name"]], f"content of {load.display_name(row)}")


def sizes_of_roots(load: LoadContext, source: Source) -> dict[str, int]:
    """Return the bytes of the tables that are filled, with those of their partitions."""
    leaves = ((name, sum(int(row["bytes"]) for row in rows)) for name, rows in source.leaves_of.items())
    return {name: size for name, size in leaves if name not in load.empty}


def _as(owner: str | None) -> list[str]:
    return [f"set local role {ident(owner)}"] if owner else []
