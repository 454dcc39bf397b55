"""Load the rows: several tables at once from one snapshot, each with its indexes right after its rows."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from runner.backup.snapshot import Snapshot
from runner.database.connections import WHO_CONNECTS, translate_errors
from runner.database.deadlines import cancellable
from runner.database.worker_pool import WorkerPool
from runner.errors import TargetError
from runner.refresh.records import StreamDigest
from runner.shadow.load_context import Conn, LoadContext, Row
from runner.shadow.relay import relay
from runner.shadow.source import Source
from runner.sqltext import ident, idents, join_statements, qualified
from runner.words import size

Connections = tuple[Conn, Conn]
"""Connections to the source, in the snapshot, and to the target."""

_EVERY = 0.5
"""Seconds between two reports of tables that are being copied."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was copied. counts, streams: by table or partition, the number of rows and what the COPY sent. sums,
    source_counts: of the source, by root, where the streams prove nothing. xids: of the transactions that wrote the
    rows."""

    counts: dict[str, int] = field(default_factory=dict)
    streams: dict[str, StreamDigest] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)
    source_counts: dict[str, int] = field(default_factory=dict)
    xids: list[str] = field(default_factory=list)

    def of_roots(self, source: Source) -> dict[str, int]:
        """Return the number of rows of each root; that of a partitioned table is the sum over its partitions."""
        leaves = sorted(source.leaves_of.items())
        return {root: sum(self.counts.get(row["name"], 0) for row in rows) for root, rows in leaves}


def copy(load: LoadContext, source: Source, owners: Mapping[str, str], snapshot: Snapshot) -> Rows:
    """Copy all rows, the biggest table first, and create the indexes of each table right after its rows.

    owners: table -> its owner, with whose rights its rows are written. Raises TargetError.
    """
    work = _Copy(load, source, owners)
    summed = [row for row in source.roots if row["name"] not in load.empty and work.needs_sum(row)]
    tasks = [
        *(partial(work.copy_table, row) for row in source.leaves),
        *(partial(work.sum_table, row) for row in summed),
    ]
    load.expect(len(source.leaves))
    WorkerPool(load.action.jobs, partial(_open_both, load, snapshot), load.cancel).work_off(tasks)
    for row in source.facts:
        if not row["leaf"]:
            load.run(source.made.of_table.get(row["name"], ()), f"indexes of {load.display_name(row)}")
    load.run(source.made.attached, "indexes of partitioned tables")
    return work.rows


@contextlib.contextmanager
def _open_both(load: LoadContext, snapshot: Snapshot) -> Iterator[Connections]:
    with snapshot.open_reader() as source, load.open() as target:
        yield source, target


class _Copy:
    """The work of the pool: its methods run in several threads at once."""

    def __init__(self, load: LoadContext, source: Source, owners: Mapping[str, str]) -> None:
        self._load, self._source, self._owners, self.rows = load, source, owners, Rows()
        self._lock, self._said, self._copied = threading.Lock(), 0.0, 0

    def copy_table(self, row: Row, connections: Connections) -> None:
        load, (source, target) = self._load, connections
        try:
            if row["top"] not in load.empty:
                with translate_errors():
                    self.rows.counts[row["name"]] = self._copy(row, source, target)
            load.run_on(target, self._source.made.of_table.get(row["name"], ()), f"indexes of {load.display_name(row)}")
        except TargetError as exc:
            exc.where = exc.where or f"rows of {load.display_name(row)}"
            if owner := self._owners.get(row["name"]):
                exc.hint = exc.hint.replace(WHO_CONNECTS, f"{ident(owner)}, with whose rights the new table is filled")
            raise
        load.count(load.display_name(row))

    def _copy(self, row: Row, source: Conn, target: Conn) -> int:
        """Copy the rows of one table in one transaction with TRUNCATE, so that they can be written frozen."""
        load = self._load
        here = qualified(load.shadow, row["name"])
        columns = f" ({idents(row['columns'])})" if row["columns"] else ""
        form = self._format(row)
        digest = hashlib.sha256() if load.action.checksums and self.is_exact(row) else None
        owner = self._owners.get(row["name"])  # checks and generated columns run with the rights of the writer
        as_owner = [f"set local role {ident(owner)}"] if owner else []
        with cancellable(target, load.cancel):
            target.execute(join_statements(["begin", *as_owner, f"truncate only {here}"]))
        rows = relay(
            source,
            target,
            f"copy {qualified(load.schema, row['name'])}{columns} to stdout (format {form})",
            f"copy {here}{columns} from stdin (format {form}, freeze)",
            load.cancel,
            partial(self._take, row, digest),
        )
        with cancellable(target, load.cancel):
            answer = target.execute(join_statements(["select pg_catalog.pg_current_xact_id()::text as xid", "commit"]))
            xid = answer.fetchall()[0]["xid"]
        self.rows.xids.append(str(xid))
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

    def _take(self, row: Row, digest: Any, piece: Any) -> None:
        if digest:
            digest.update(piece)
        with self._lock:
            self._copied += len(piece)
            due = time.monotonic() - self._said > _EVERY
            if due:
                self._said = time.monotonic()
        if due:
            self._load.continue_with(f"{self._load.display_name(row)} ({size(self._copied)} of rows so far)")

    def sum_table(self, row: Row, connections: Connections) -> None:
        """Sum the content of a source table in the snapshot, as a Compare will do it with the shadow."""
        load, source = self._load, connections[0]
        text = load.templates.sql("refresh/content.sql.j2", schema=load.schema, name=row["name"], parts=not row["leaf"])
        with translate_errors(f"content of {load.display_name(row)}"), cancellable(source, load.cancel):
            found = source.execute(text).fetchall()[0]
        self.rows.sums[row["name"]] = str(found["checksum"])
        self.rows.source_counts[row["name"]] = int(found["rows"])
