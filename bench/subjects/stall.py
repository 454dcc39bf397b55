"""What applications notice of a swap: the longest transaction of 4 clients that read and write all tables.

The same ways as in `swap`; "no swap" is the longest transaction when nothing happens. With some numbers of tables
(--far) it is measured again with the server 1 ms away from planrun, not from the clients: a proxy delays what
planrun sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import clients, delay
from bench.place import Place, instead
from bench.renames import HAND, Hand, Refresh
from bench.sample import Group, Sample, Way
from bench.subject import Subject

ROUND_TRIP_MS = 1


@dataclass(frozen=True)
class Size:
    """`lead_ms`: how long the clients work before and after."""

    tables: tuple[int, ...] = (10, 100, 1_000)
    far: tuple[int, ...] = (100,)
    lead_ms: int = 500


def groups(where: Place, size: Size) -> Iterator[Group]:
    for count in size.tables:
        hand, refresh = Hand(where, count), Refresh(where, count)
        title = f"swap of {count:,} tables, longest transaction of {clients.CLIENTS} clients"
        yield Group(str(count), title, _ways(where, size, count, hand, refresh, ""))
        if count in size.far:
            with delay.far(where.home / f"far{count}", Path(where.server.words["host"]), ROUND_TRIP_MS) as host:
                ways = _ways(where, size, count, hand, refresh, host)
                yield Group(f"{count}-far", f"{title}, server {ROUND_TRIP_MS} ms away", ways)


def _ways(where: Place, size: Size, count: int, hand: Hand, refresh: Refresh, host: str) -> list[Way]:
    def run_under_load(database: str, work: Callable[[], Sample], first: Callable[[], object] | None = None) -> Sample:
        if first:
            first()
        script = clients.MANY_TABLES.format(last=count - 1)
        with clients.at_work(where, database, script, size.lead_ms / 1000) as watch:
            sample = work()
        return instead(sample, watch.longest)

    nothing = partial(where.time, partial(time.sleep, size.lead_ms / 1000))
    return [
        Way("no swap", partial(run_under_load, "hand", nothing)),
        Way(HAND, partial(run_under_load, "hand", partial(hand.swap, host))),
        Way(
            "planrun swap_tables",
            partial(run_under_load, "target", partial(refresh.swap, host), refresh.prepare),
            (HAND,),
        ),
    ]


SUBJECT = Subject("stall", __doc__, Size(), Size(tables=(2,), far=(), lead_ms=200), groups)
