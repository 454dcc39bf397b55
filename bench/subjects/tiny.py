"""The preparation of a refresh of very many tiny tables, beside pg_dump and pg_restore.

Each table has two rows, a sequence and two indexes, so that what is measured is the work on catalogs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench import plans
from bench.data import tiny_tables
from bench.place import Place
from bench.programs import copy
from bench.sample import Group, Sample, Way, most_rounds
from bench.subject import Subject

PEER = "pg_dump -Fd -j2 -Z0, pg_restore -j2"


@dataclass(frozen=True)
class Size:
    tables: tuple[int, ...] = (1_000, 5_000)


def groups(where: Place, size: Size) -> Iterator[Group]:
    for count in size.tables:
        tiny_tables(where.fresh("source"), count)
        ways = [
            Way(PEER, partial(copy, where, "-Z0")),
            Way("planrun prepare", partial(_ours, where), (PEER,)),
        ]
        yield Group(str(count), f"{count:,} tables of 2 rows", ways, most=most_rounds(count))


def _ours(where: Place) -> Sample:
    where.fresh("target")
    where.settle()
    return where.apply(plans.refresh(), "--until", "prepare")[0]


SUBJECT = Subject("tiny", __doc__, Size(), Size(tables=(3,)), groups)
