"""The locks that the steps of a rehearsed plan hold: read under each of planrun's own transactions, and looked for from
outside while programs and loads run, whose transactions are not ours to ask.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner import sqlfile
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import TargetError
from runner.rehearsal_result import HeldLock
from runner.sqltext import SqlText
from runner.table_name import TableName
from runner.words import one_line

_OWN = sqlfile.fill("server/held_locks.sql", own=SqlText("true"))
_OTHERS = sqlfile.fill("server/held_locks.sql", own=SqlText("false"))
_NAMES = sqlfile.read("server/relation_names.sql")

EVERY = 0.02
"""Seconds between two looks from outside; what is held for less may not be seen."""
LONGEST = 200
"""Characters of a statement that are kept."""


@dataclass
class _Sight:
    """A lock as it was seen from outside."""

    path: str
    connection: str
    table: TableName
    mode: str
    first: float
    last: float


class LockBook:
    """Collects the locks of a run. For use in a `with`, which looks from outside meanwhile.

    connections: one connection for each database, by the name that the locks are told under. `path` is the step that
    runs now.
    """

    def __init__(self, connections: Connections, names: Mapping[str, str]) -> None:
        self._connections, self._names = connections, names
        self.path = ""
        self._tables: dict[str, dict[int, TableName]] = {}
        self._held: dict[tuple[str, str, TableName, str], HeldLock] = {}
        self._seen: dict[tuple[str, int, int, str, str], _Sight] = {}
        self._lock, self._end = threading.Lock(), threading.Event()
        self._threads = list[threading.Thread]()

    def __enter__(self) -> LockBook:
        with contextlib.ExitStack() as stack:
            for name in dict.fromkeys(self._names.values()):
                conn = stack.enter_context(contextlib.closing(self._connections.open(name, statement_timeout="0")))
                with translate_errors("looking at locks"):
                    rows = conn.execute(_NAMES).fetchall()
                self._tables[name] = {row["oid"]: TableName.of(row) for row in rows}
        for name in self._tables:
            self._threads.append(threading.Thread(target=self._look, args=[name], name="planrun-locks", daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @contextlib.contextmanager
    def note(self, conn: Any, path: str, connection: str, statement: str, since: float) -> Iterator[None]:
        """Note the locks of a transaction whose COMMIT is in the block. since: time.monotonic() of its begin."""
        rows = conn.execute(_OWN).fetchall()
        yield
        held = (time.monotonic() - since) * 1000
        name = self._names.get(connection, connection)
        for row in rows:
            if table := self._table(name, row):
                lock = HeldLock(
                    path=path, connection=name, schema=table.schema, name=table.name, mode=row["mode"],
                    milliseconds=held, statement=one_line(statement.strip())[:LONGEST],
                )  # fmt: skip
                with self._lock:
                    key = (path, name, table, row["mode"])
                    if key not in self._held or self._held[key].milliseconds < held:
                        self._held[key] = lock

    def add(self, connection: str, oid: int, lock: HeldLock) -> None:
        """Note a lock that the server has told of; it has no name yet, and the plan may have made the relation."""
        table = self._tables.get(connection, {}).get(oid)
        if table:
            with self._lock:
                named = replace(lock, schema=table.schema, name=table.name)
                self._held[lock.path, connection, table, lock.mode] = named

    def _table(self, name: str, row: Mapping[str, Any]) -> TableName | None:
        """Return what is locked by the name that it had at the start; None for what the plan itself has made."""
        return self._tables.get(name, {}).get(row["oid"])

    def _look(self, name: str) -> None:
        with (
            contextlib.suppress(TargetError),
            contextlib.closing(self._connections.open(name, statement_timeout="0")) as conn,
            translate_errors(),
        ):
            while not self._end.wait(EVERY):
                self._look_once(name, conn)

    def _look_once(self, name: str, conn: DeadlineConnection) -> None:
        path, now = self.path, time.monotonic()
        for row in conn.execute(_OTHERS).fetchall() if path else ():
            if not (table := self._table(name, row)):
                continue
            key = (path, row["pid"], row["oid"], row["mode"], name)
            with self._lock:
                sight = self._seen.setdefault(key, _Sight(path, name, table, row["mode"], now, now))
                sight.last = time.monotonic()

    @property
    def locks(self) -> tuple[HeldLock, ...]:
        """All locks, by step in the order of their strength; a lock that was noted exactly stands once."""
        found = dict(self._held)
        for one in self._seen.values():
            key = (one.path, one.connection, one.table, one.mode)
            held = (one.last - one.first) * 1000
            if key in self._held or (key in found and found[key].milliseconds >= held):
                continue
            found[key] = HeldLock(
                path=one.path, connection=one.connection, schema=one.table.schema, name=one.table.name, mode=one.mode,
                milliseconds=held, exact=False,
            )  # fmt: skip
        return tuple(found.values())
