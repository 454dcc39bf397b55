"""The rows of a load: several tables at once from one snapshot, each with its indexes right behind its rows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from runner.backup.snapshot import Snapshot
from runner.connection import cancellable
from runner.db import WHO_CONNECTS, translate_errors
from runner.errors import TargetError
from runner.refresh.records import SequencePosition
from runner.shadow import structure
from runner.shadow.relay import relay
from runner.shadow.work import BATCH, Conn, Row, Work
from runner.sqltext import ident, idents, literal, qualified
from runner.words import shown_name, size
from runner.worker_pool import WorkerPool

Sessions = tuple[Conn, Conn]

_EVERY = 0.5
"""Seconds between two words about a table that is being copied."""


class Copying(Work):
    """The part of a load that moves rows. `_rows`: copied, by table. `_sums`, `_counts`: of the source, by root.

    `_owners`: the role that a table is given to, where that is not the one that we are.
    `_shared`: sequences that the tables use and none of them owns. `_stand`: where those of the source stand.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._rows, self._sums, self._counts = dict[str, int](), dict[str, str](), dict[str, int]()
        self._xids = list[str]()
        self._owners = dict[str, str]()
        self._said, self._copied = 0.0, 0
        self._shared, self._stand = list[tuple[str, str]](), list[SequencePosition]()

    def _fill(self, snapshot: Snapshot, made: structure.Structure) -> None:
        """Copy all rows, the biggest table first, and make each table's indexes right behind its rows."""
        leaves = sorted((row for row in self._facts if row["leaf"]), key=lambda row: -int(row["bytes"]))
        roots = sorted((row for row in self._facts if row["root"]), key=lambda row: -int(row["bytes"]))
        copies = [partial(self._table, row, made) for row in leaves]
        sums = [partial(self._sum, row) for row in roots if self._action.checksums and row["name"] not in self._empty]
        self._total = len(copies)
        crew = WorkerPool(self._action.jobs, partial(self._sessions, snapshot), self._cancel)
        crew.work_off([*copies, *sums])
        for row in self._facts:
            if not row["leaf"]:
                self._run(self._conn, made.of_table.get(row["name"], ()), f"indexes of {self._shown(row)}")
        self._run(self._conn, made.attached, "indexes of partitioned tables")

    @contextlib.contextmanager
    def _sessions(self, snapshot: Snapshot) -> Iterator[Sessions]:
        with snapshot.joined() as source, self._opened() as target:
            yield source, target

    def _table(self, row: Row, made: structure.Structure, sessions: Sessions) -> None:
        source, target = sessions
        try:
            if row["top"] not in self._empty:
                with translate_errors():
                    self._rows[row["name"]] = self._copy(row, source, target)
            self._run(target, made.of_table.get(row["name"], ()), f"indexes of {self._shown(row)}")
        except TargetError as exc:
            exc.where = exc.where or f"rows of {self._shown(row)}"
            if owner := self._owners.get(row["name"]):
                exc.hint = exc.hint.replace(WHO_CONNECTS, f"{ident(owner)}, with whose rights the new table is filled")
            raise
        self._done(self._shown(row))

    def _copy(self, row: Row, source: Conn, target: Conn) -> int:
        """Copy one table's rows in one transaction with TRUNCATE, which lets them be written frozen."""
        here = qualified(self._shadow, row["name"])
        columns = f" ({idents(row['columns'])})" if row["columns"] else ""
        binary = row["binary"] and source.info.server_version // 10000 == target.info.server_version // 10000
        form = "binary" if binary else "text"
        with cancellable(target, self._cancel):
            target.execute("begin")
            if owner := self._owners.get(row["name"]):  # its checks and generated columns run as who writes
                target.execute(f"set local role {ident(owner)}")
            target.execute(f"truncate only {here}")
        rows = relay(
            source,
            target,
            f"copy {qualified(self._schema, row['name'])}{columns} to stdout (format {form})",
            f"copy {here}{columns} from stdin (format {form}, freeze)",
            self._cancel,
            partial(self._moved, row),
        )
        with cancellable(target, self._cancel):
            xid = target.execute("select pg_catalog.pg_current_xact_id()::text as xid").fetchall()[0]["xid"]
            target.execute("commit")
        self._xids.append(str(xid))
        return rows

    def _moved(self, row: Row, more: int) -> None:
        with self._lock:
            self._copied += more
            due = time.monotonic() - self._said > _EVERY
            if due:
                self._said = time.monotonic()
        if due:
            what = f"{self._shown(row)} ({size(self._copied)} of rows so far)"
            self._progress(self._finished, self._total, "tables", what)

    def _sum(self, row: Row, sessions: Sessions) -> None:
        """Sum the content of a source table in the snapshot, as a Compare will do it with the shadow."""
        values = {"schema": self._schema, "name": row["name"], "parts": not row["leaf"]}
        text = self._templates.sql("shadow_load/content.sql.j2", **values)
        with translate_errors(f"content of {self._shown(row)}"), cancellable(sessions[0], self._cancel):
            found = sessions[0].execute(text).fetchall()[0]
        self._sums[row["name"]] = str(found["checksum"])
        self._counts[row["name"]] = int(found["rows"])

    def _sequences(self, snapshot: Snapshot) -> None:
        """Let the new sequences stand where those of the source stand now; that is no earlier than in the snapshot.

        Those that no table owns are the target's own: they are moved by the swap, as its tables need them so.
        """
        names = [name for row in self._facts for name in row["sequences"]]
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            parts = [f"select {literal(n)} as name, s.* from {self._value(n)} as s" for n in some]
            rows = snapshot.ask(" union all ".join(parts), "reading sequences")
            calls = [
                f"pg_catalog.setval({literal(qualified(self._shadow, r['name']))}, {r['last_value']}, {r['is_called']})"
                for r in rows
            ]
            self._run(self._conn, [f"select {', '.join(calls)}"], "sequences")

        for schema, name in self._shared:
            text = self._value(name, schema)
            (row,) = snapshot.ask(f"select last_value, is_called from {text} as s", "reading sequences")
            self._stand.append(SequencePosition(schema=schema, name=name, **row))
            self._refuse_beyond(schema, name, int(row["last_value"]))

    def _refuse_beyond(self, schema: str, name: str, last: int) -> None:
        """Raise TargetError when the target's sequence ends before the number where the source's stands."""
        rows = self._ask(
            "select seqmin, seqmax from pg_catalog.pg_sequence "
            f"where seqrelid = {literal(qualified(schema, name))}::pg_catalog.regclass"
        )
        for row in rows:
            if not row["seqmin"] <= last <= row["seqmax"]:
                raise TargetError(
                    f"sequence {shown_name(schema, name)} stands at {last} in the source, "
                    f"and goes from {row['seqmin']} to {row['seqmax']} in the target",
                    hint="give it the same bounds as in the source, then run again",
                )

    def _value(self, name: str, schema: str = "") -> str:
        return f"(select last_value, is_called from {qualified(schema or self._schema, name)})"

    def _tables(self) -> Iterator[dict[str, Any]]:
        """Yield what was loaded, roots only; the rows of a partitioned table are those of its partitions."""
        for root in sorted((row for row in self._facts if row["root"]), key=lambda row: str(row["name"])):
            parts = [row["name"] for row in self._facts if row["top"] == root["name"] and row["leaf"]]
            rows = sum(self._rows.get(name, 0) for name in parts)
            yield {"schema": self._schema, "name": root["name"], "rows": rows}

    def _miscounted(self) -> Iterator[str]:
        """Yield the tables of which other rows were copied than the snapshot has."""
        for table in self._tables():
            count = self._counts.get(table["name"], table["rows"])
            if count != table["rows"]:
                shown = shown_name("", table["name"])
                yield f"table {shown}: {count} rows in the source, {table['rows']} were copied"
