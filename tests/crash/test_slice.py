"""A slice of the crash sweep: one point of most kinds of failure. The whole of it: make crash"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests import servers
from tests.crash.kinds import KINDS
from tests.crash.stage import Stage, open_stage
from tests.crash.sweep import EVERY, Sweep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is left running is found in /proc")

SLICE: dict[str, list[tuple[str, str]]] = {
    "sql": [
        ("target-going", "update counter"),
        ("target-coming", "commit"),
        ("target-terminated", "insert into made"),
        ("target-cancelled", "create index"),
        ("target-killed-coming", "create index"),
        ("event-kill", "told StepPlanned look"),
        ("event-term", "told StepPlanned bare"),
        ("output-full", "before StepPlanned look"),
        ("child-orphan", "sh"),
        ("twice-killed", "insert into made"),
        ("server-crash", "commit"),
        ("other-run", "before ActionDone call"),
        ("lock-deadlock", "told StepPlanned fill"),
    ],
    "dump-insert": [
        ("file-error", "rename backups"),
        ("file-full", "write backups"),
        ("file-kill", "fsync backups"),
        ("child-half", "pg_dump"),
        ("event-int", "told StepPlanned it"),
        ("target-killed-held", "Return each row of a table as the list of values"),
    ],
    "swap": [
        ("target-coming", "insert into planrun.journal (run, event) values ('"),  # in one message with the COMMIT
        ("twice-lost", "lock table"),
        ("lock-brief", "before StepPlanned swap"),
        ("lock-autovacuum", "before StepPlanned swap"),
    ],
}
"""For each plan: a kind of failure, and what is to be found in the name of the point; the last such one is failed."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not servers.servers_here():
        servers.no_server("no PostgreSQL server programs here to crash")
    with open_stage() as made:
        yield made


@pytest.mark.parametrize("plan", SLICE)
def test_a_run_that_is_cut_off_at_a_point(stage: Stage, plan: str) -> None:
    sweep = Sweep(stage, EVERY[plan], emit=lambda line: None)
    violations, missed = [], []
    for name, where in SLICE[plan]:
        number = sweep.number(KINDS[name].on, where)
        found = sweep.run(KINDS[name], numbers=[number])
        violations += found.violations
        missed += [] if found.swept else [name]
    assert (violations, missed) == ([], [])
    # what numbers the points must number them alike each time; asked where it costs the least
    assert plan != "sql" or sweep.drift() == []
