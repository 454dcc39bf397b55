"""Interleaved rounds and their medians."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

Work = Callable[[], object]
Measured = Callable[[], float]
"""Work that says itself how many seconds of it count."""


def command(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Work:
    """Return work that runs a program to its end, its output thrown away."""
    return lambda: subprocess.run(argv, env=env, check=True, capture_output=True)


def seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def cpu_seconds(work: Work) -> float:
    """Return the CPU time of the programs that a work runs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Return the median seconds of each work; the first round warms caches and does not count."""
    return measured({name: partial(seconds, work) for name, work in works.items()}, rounds)


def measured(works: Mapping[str, Measured], rounds: int, warm: bool = True) -> dict[str, float]:
    """Return the median of each work; each round runs all of them, so that a slow minute hits all alike."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + warm):
        for name, work in works.items():
            found = work()
            if number >= warm:
                took[name].append(found)
    return {name: statistics.median(times) for name, times in took.items()}


def table(found: Mapping[str, float], peer: str) -> str:
    """Return the rows `seconds, ratio to the peer, name`."""
    return "\n".join(f"{took:9.3f} s  {took / found[peer]:6.2f}x  {name}" for name, took in found.items())
