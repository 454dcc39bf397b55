"""The results of one measurement, the ways that are compared, and the rounds in which they are measured."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One measurement. `seconds` is what is compared; CPU is in seconds; `peak` is bytes of the largest process of the
    client; None is "not measured". `whole` is False when `seconds` is a part of the work that CPU and peak are of."""

    seconds: float
    client_cpu: float | None = None
    server_cpu: float | None = None
    peak: int | None = None
    whole: bool = True

    @property
    def cpu(self) -> float | None:
        """CPU seconds of client and server, None where one is not known or where they are of more than `seconds`."""
        if not self.whole or self.client_cpu is None or self.server_cpu is None:
            return None
        return self.client_cpu + self.server_cpu


@dataclass(frozen=True)
class Way:
    """One way to do the job of a group. The ratios are those to each of `peers`, names of other ways of the group; the
    README of the project shows those to the first of them, as many as `headlines` says."""

    name: str
    run: Callable[[], Sample]
    peers: tuple[str, ...] = ()
    headlines: int = 1


@dataclass(frozen=True)
class Group:
    """Ways that do one job on the same data. `key` names the group in comparisons; `title` is for people."""

    key: str
    title: str
    ways: Sequence[Way]
    warm: bool = False
    """Whether a first round fills caches and does not count."""
    most: int = 0
    """How many rounds at most, 0 for no limit: groups of thousands of tables took half of the time of all subjects."""


Samples = dict[str, list[Sample]]


def stopwatch(work: Callable[[], object]) -> float:
    """Return the seconds that work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def most_rounds(tables: int) -> int:
    """Return `Group.most` for a group of so many tables."""
    return 3 if tables >= 1_000 else 0


def measure(group: Group, pairs: int) -> Samples:
    """Return the samples of each way, one from each round.

    A round runs all ways, so that a slow minute affects all alike, and every other round runs them from the last to the
    first, so that none always comes after the same one.
    """
    found: Samples = {way.name: [] for way in group.ways}
    pairs = min(pairs, group.most or pairs)
    for number in range(-int(group.warm), pairs):
        for way in group.ways if number % 2 == 0 else reversed(group.ways):
            sample = way.run()
            if number >= 0:
                print(f"  {number + 1}/{pairs}  {sample.seconds:8.3f} s  {way.name}", file=sys.stderr, flush=True)
                found[way.name].append(sample)
    return found


def quotients(of: Sequence[float], to: Sequence[float]) -> tuple[float, float, float]:
    """Return median, least and greatest of the quotients of two ways, each of one round."""
    each = [a / b for a, b in zip(of, to, strict=True)]
    return statistics.median(each), min(each), max(each)
