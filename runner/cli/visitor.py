"""A client that uses the demo's live database all the time, and what it noticed during the swaps."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from runner.database.connections import Connections, translate_errors

_PAUSE = 0.01
_BUY = "insert into customers (email) values ('visitor' || pg_catalog.gen_random_uuid() || '@example.org')"
_READ = "select price from products where id = 1"


@dataclass
class Visits:
    """count: customers that were added, and prices that were read. longest: seconds that one of them took."""

    count: int = 0
    longest: float = 0.0


@contextlib.contextmanager
def visit(connections: Connections, name: str) -> Iterator[Visits]:
    """Let a client write and read until the block ends. Raises the error that it met, which makes the demo fail."""
    visits, stop = Visits(), threading.Event()
    with ThreadPoolExecutor(1) as pool, contextlib.closing(connections.open(name, own_path=False)) as conn:
        visitor = pool.submit(_visit, conn, visits, stop)
        try:
            yield visits
        finally:
            stop.set()
        visitor.result()


def _visit(conn: Any, visits: Visits, stop: threading.Event) -> None:
    while not stop.wait(_PAUSE):
        began = time.monotonic()
        with translate_errors("the demo's visitor"):
            conn.execute(_BUY)
            conn.execute(_READ).fetchone()
        visits.count += 1
        visits.longest = max(visits.longest, time.monotonic() - began)
