"""How long a user waits for --help, for validate and for diff, beside a Python that does nothing.

The plan has steps of SQL and queries with guards; the diff reads them on a local server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from bench import plans
from bench.place import Place
from bench.sample import Group, Way
from bench.subject import Subject

PEER = "python -c pass"


@dataclass(frozen=True)
class Size:
    steps: int = 10


def groups(where: Place, size: Size) -> Iterator[Group]:
    file = str(plans.write(where.home / "steps.yml", plans.steps(size.steps)))
    env = where.env(DATABASE_URL=where.url("postgres"))
    ways = [
        Way(PEER, lambda: where.run([sys.executable, "-c", "pass"])),
        Way("planrun --help", lambda: where.planrun("--help"), (PEER,)),
        Way("planrun validate", lambda: where.planrun("validate", file), (PEER,)),
        Way("planrun diff", lambda: where.planrun("diff", file, env=env), (PEER,)),
    ]
    yield Group("steps", f"a plan of {size.steps} steps of SQL", ways, warm=True)


SUBJECT = Subject("startup", __doc__, Size(), Size(), groups)
