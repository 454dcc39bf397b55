"""A refresh that keeps the live rows of a table while applications write 2,000 of them a second.

planrun records the keys that change, and copies these rows again until few are left; the last ones it copies under its
locks. The first group is how long these locks are held, beside a refresh while nobody writes; the second is the longest
write of the clients during the whole refresh, beside the longest while nothing happens.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from bench import clients, plans
from bench.data import accounts
from bench.place import Place, instead
from bench.sample import Group, Sample, Way
from bench.subject import Subject

QUIET = "planrun, no writes"
NOTHING = "no refresh"
KEPT_UP = 0.9
"""The part of the rate that must have been reached for the figures to be about it."""


@dataclass(frozen=True)
class Size:
    """`idle_ms`: how long clients work before and after, and where nothing else happens."""

    rows: int = 500_000
    writes: int = 2_000
    idle_ms: int = 1_000


def groups(where: Place, size: Size) -> Iterator[Group]:
    for name in ("source", "target"):
        accounts(where.fresh(name), size.rows)
    busy = f"planrun, {size.writes:,} writes/s"
    locks = [
        Way(QUIET, partial(_refresh, where)),
        Way(busy, partial(_refresh_under_load, where, size, True), (QUIET,)),
    ]
    yield Group("locks", f"preserved table of {size.rows:,} rows, locks held to COMMIT", locks)
    longest = [
        Way(NOTHING, partial(_idle, where, size)),
        Way(busy, partial(_refresh_under_load, where, size, False), (NOTHING,)),
    ]
    yield Group("longest", f"preserved table of {size.rows:,} rows, longest write of a client", longest)


def _refresh(where: Place) -> Sample:
    sample, steps = where.apply(plans.refresh(["pgbench_accounts"]))
    return instead(sample, float(steps["swap"]["outputs"]["locked_ms"]) / 1000)


def _refresh_under_load(where: Place, size: Size, locks: bool) -> Sample:
    with _clients(where, size) as watch:
        sample = _refresh(where)
    if watch.rate < KEPT_UP * size.writes:
        print(f"  the clients wrote only {watch.rate:,.0f} times a second", file=sys.stderr)
    return sample if locks else instead(sample, watch.longest)


def _idle(where: Place, size: Size) -> Sample:
    with _clients(where, size) as watch:
        sample = where.time(partial(time.sleep, size.idle_ms / 1000))
    return instead(sample, watch.longest)


def _clients(where: Place, size: Size) -> AbstractContextManager[clients.Watch]:
    script = clients.ACCOUNTS.format(rows=size.rows)
    return clients.at_work(where, "target", script, size.idle_ms / 1000, size.writes)


SUBJECT = Subject("catch_up", __doc__, Size(), Size(rows=100, writes=100, idle_ms=200), groups)
