"""Clients that read and write the demo's live database all the time, and what they noticed meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from runner.database.connections import Connections, translate_errors

_PAUSE = 0.01
_BUY = "insert into customers (email) values ('visitor' || pg_catalog.gen_random_uuid() || '@example.org')"
_READ = "select price from products where id = 1"

CLIENTS = 4
"""Connections: one half only writes, the other half only reads."""


@dataclass
class Visits:
    """writes: customers that were added. reads: prices that were read. longest: seconds that one request took."""

    writes: int = 0
    reads: int = 0
    longest: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def requests(self) -> int:
        return self.writes + self.reads

    def add(self, began: float, *, writes: int = 0, reads: int = 0) -> None:
        """Count a request that began at this time (of time.monotonic) and has just ended."""
        with self._lock:
            self.writes, self.reads = self.writes + writes, self.reads + reads
            self.longest = max(self.longest, time.monotonic() - began)


@contextlib.contextmanager
def visit(connections: Connections, name: str) -> Iterator[Visits]:
    """Let clients write and read until the block ends. Raises the error that one met, which makes the demo fail."""
    visits, stop = Visits(), threading.Event()
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(contextlib.closing(connections.open(name, own_path=False))) for _ in range(CLIENTS)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
        requests = [(_write, _read)[number % 2] for number in range(CLIENTS)]
        working = [
            pool.submit(_visit, conn, request, visits, stop) for conn, request in zip(opened, requests, strict=True)
        ]
        try:
            yield visits
        finally:
            stop.set()
        for one in working:
            one.result()


def _visit(conn: Any, request: Callable[[Any, Visits], None], visits: Visits, stop: threading.Event) -> None:
    while not stop.wait(_PAUSE):
        with translate_errors("a client of the demo"):
            request(conn, visits)


def _write(conn: Any, visits: Visits) -> None:
    began = time.monotonic()
    conn.execute(_BUY)
    visits.add(began, writes=1)


def _read(conn: Any, visits: Visits) -> None:
    began = time.monotonic()
    conn.execute(_READ).fetchone()
    visits.add(began, reads=1)
