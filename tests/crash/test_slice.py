"""A slice of the crash sweep: every k-th point of a few plans and kinds. The whole of it: python -m tests.crash"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests import servers
from tests.crash.plans import EVERY
from tests.crash.stage import Stage, open_stage
from tests.crash.sweep import KINDS, Sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left running is found in /proc")

SLICE = {
    "sql": ("target-coming", "target-killed-going", "target-terminated", "event-kill", "file-error"),
    "backup": ("event-int", "file-full", "file-kill", "child-half"),
    "swap": ("target-coming",),
    "rollback": ("target-killed-coming",),
}
POINTS = 2
"""Points of each kind: the first, and then one in so many that there are two."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not servers.servers_here():
        servers.no_server("no PostgreSQL server programs here to crash")
    with open_stage() as made:
        yield made


@pytest.mark.parametrize("plan", SLICE)
def test_a_run_that_is_cut_off_at_any_point(stage: Stage, plan: str) -> None:
    sweep = Sweep(stage, EVERY[plan], tell=lambda line: None)
    for number, name in enumerate(SLICE[plan]):
        kind = KINDS[name]
        points, every = sweep.points(kind.on), max(1, sweep.points(kind.on) // POINTS)
        assert points, f"{plan} has no {kind.on}"
        # each kind begins elsewhere, so that together they see more places
        found = sweep.run(kind, numbers=range(1 + number * every // len(SLICE[plan]), points + 1, every))
        assert found.swept >= min(points, POINTS) - 1
        assert found.violations == []


def test_the_points_of_two_runs_are_the_same(stage: Stage) -> None:
    assert Sweep(stage, EVERY["sql"]).drift() == []
