"""How long the swap holds its locks: from the first lock to the answer to COMMIT.

The peer is the whole rename of the same tables, with their indexes, constraints and sequences, written by hand and sent
as one message: it has no checks, no journal, no rollback, and it carries nothing over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench.place import Place
from bench.renames import HAND, Hand, Refresh
from bench.sample import Group, Sample, Way, most_rounds
from bench.subject import Subject


@dataclass(frozen=True)
class Size:
    tables: tuple[int, ...] = (10, 100, 1_000)


def groups(where: Place, size: Size) -> Iterator[Group]:
    for count in size.tables:
        hand, refresh = Hand(where, count), Refresh(where, count)
        ways = [
            Way(HAND, hand.swap),
            Way("planrun swap_tables", partial(_swap, refresh), (HAND,)),
        ]
        yield Group(str(count), f"swap of {count:,} tables, first lock to COMMIT", ways, most=most_rounds(count))


def _swap(refresh: Refresh) -> Sample:
    refresh.prepare()
    return refresh.swap()


SUBJECT = Subject("swap", __doc__, Size(), Size(tables=(2,)), groups)
