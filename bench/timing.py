"""Interleaved rounds and their medians."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

Work = Callable[[], object]


def command(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Work:
    """Return work that runs a program to its end, its output thrown away."""
    return lambda: subprocess.run(argv, env=env, check=True, capture_output=True)


def medians(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Return the median seconds of each work; each round runs all of them, so that a slow minute hits all alike."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            if number:  # the first round warms caches
                took[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in took.items()}


def table(found: Mapping[str, float], peer: str) -> str:
    """Return the rows `seconds, ratio to the peer, name`."""
    return "\n".join(f"{seconds:9.3f} s  {seconds / found[peer]:6.2f}x  {name}" for name, seconds in found.items())
