"""Exchange tables: by hand, with all renames in one transaction, and by planrun."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from bench import plans
from bench.data import make
from bench.place import Place, instead
from bench.sample import Sample, stopwatch

HAND = "renames by hand, in one message"
TABLE = """
create table {n} (id serial primary key, v text unique, n int, c text check (c <> 'z'));
create index on {n} (n);
insert into {n} (v, n, c) select 'v' || g, {value}, 'c' from generate_series(1, 10) as g;
"""
KEY = "alter table {n} add constraint {n}_n_fkey foreign key (n) references {before};"
ALTERS = (
    "alter sequence {old}_id_seq rename to {new}_id_seq",
    "alter index {old}_n_idx rename to {new}_n_idx",
    *(
        f"alter table {{new}} rename constraint {{old}}_{part} to {{new}}_{part}"
        for part in ("pkey", "v_key", "c_check", "n_fkey")
    ),
)


def chain(url: str, count: int, prefix: str = "") -> None:
    """Make tables with a primary key, a unique constraint, an index, a check, a sequence, and a chain of keys."""
    make(url, [_table(at, prefix) for at in range(count)])


def _table(at: int, prefix: str) -> str:
    name = f"{prefix}t{at}"
    made = TABLE.format(n=name, value="g" if at else "0")
    return made + (KEY.format(n=name, before=f"{prefix}t{at - 1}") if at else "")


def renames(count: int, frm: str, to: str) -> Iterator[str]:
    """Yield the statements that rename every table with its sequence, index and constraints."""
    for at in range(count):
        old, new = f"{frm}t{at}", f"{to}t{at}"
        yield f"alter table {old} rename to {new}"
        yield from (text.format(old=old, new=new) for text in (ALTERS if at else ALTERS[:-1]))


class Hand:
    """The transaction as one would write it by hand: there and back again, each time on a new connection."""

    def __init__(self, where: Place, count: int) -> None:
        self._place, self._count = where, count
        self._there = [("", "backup_"), ("new_", "")]
        self._back = [("", "new_"), ("backup_", "")]
        chain(where.fresh("hand"), count)
        chain(where.url("hand"), count, "new_")

    def swap(self, host: str = "") -> Sample:
        """Rename everything, on a server at another address if one is given."""
        text = "; ".join(["begin", *(text for way in self._there for text in renames(self._count, *way)), "commit"])
        self._there, self._back = self._back, self._there
        with psycopg.connect(self._place.url("hand", host), autocommit=True) as conn:
            return self._place.time(lambda: conn.execute(text))


class Refresh:
    """The same tables, replaced by planrun from a source."""

    def __init__(self, where: Place, count: int) -> None:
        self._place, self._count = where, count
        for name in ("source", "target"):
            chain(where.fresh(name), count)

    def prepare(self) -> None:
        self._place.apply(plans.refresh(), "--until", "prepare")

    def swap(self, host: str = "") -> Sample:
        """Replace them; return the seconds from the first lock to the answer to COMMIT.

        planrun counts from when it has all locks, so what one LOCK TABLE takes is added.
        """
        env = self._place.refresh_env(PLANRUN_TARGET_URL=self._place.url("target", host))
        sample, steps = self._place.apply(plans.refresh(), "--resume", env=env)
        return instead(sample, float(steps["swap"]["outputs"]["locked_ms"]) / 1000 + self._seconds_under_locks())

    def _seconds_under_locks(self) -> float:
        names = ", ".join(f"public.t{at}" for at in range(self._count))
        with psycopg.connect(self._place.url("target")) as conn:
            conn.execute("lock table public.t0 in access exclusive mode")  # a new connection is slow at first
            return stopwatch(lambda: conn.execute(f"lock table {names} in access exclusive mode"))
