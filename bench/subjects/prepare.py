"""The preparation of a refresh: a whole database from source to target, beside programs that copy databases.

planrun's load collects statistics; so does pgcopydb, and pg_restore where vacuumdb comes after it. The programs verify
nothing. "prepare" proves the content of all tables, "prepare, counts" compares only rows, "load alone" nothing.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench import plans
from bench.data import make_mixed
from bench.place import Place
from bench.programs import copy
from bench.sample import Group, Sample, Way
from bench.subject import Subject

DUMP = "pg_dump -Fd -j2, pg_restore -j2"
PLAIN = f"{DUMP}, both with -Z0"
ANALYZED = f"{DUMP}, with -Z0 and vacuumdb -Z"
PGCOPYDB = "pgcopydb clone"


@dataclass(frozen=True)
class Size:
    """`scale` is pgbench's; `rows` is of each of 100 tables, `wide` of one table of 4 kB a row."""

    scale: int = 6
    tables: int = 100
    rows: int = 2_000
    wide: int = 8_000


def groups(where: Place, size: Size) -> Iterator[Group]:
    make_mixed(where, where.fresh("source"), size.scale, size.tables, size.rows, size.wide)
    with where.connect("source") as conn:
        found = conn.execute("select pg_catalog.pg_database_size(current_database())").fetchone()
    peers = {ANALYZED: partial(copy, where, "-Z0", then_analyze=True)}
    if shutil.which("pgcopydb"):
        peers[PGCOPYDB] = partial(_pgcopydb, where)
    else:
        print("pgcopydb is not here; apt-get install pgcopydb makes it one of the peers", file=sys.stderr)
    peers |= {DUMP: partial(copy, where), PLAIN: partial(copy, where, "-Z0")}
    ways = [Way(name, run) for name, run in peers.items()]
    ways.append(Way("planrun prepare", partial(_ours, where, True, "prepare"), tuple(peers), headlines=2))
    ways.append(Way("planrun prepare, counts", partial(_ours, where, False, "prepare"), tuple(peers), headlines=0))
    ways.append(Way("planrun load alone", partial(_ours, where, False, "prepare.load"), tuple(peers)))
    megabytes = found[0] / 1e6 if found else 0
    yield Group("database", f"a database of {size.tables + 5} tables, {megabytes:,.0f} MB", ways)


def _ours(where: Place, checksums: bool, until: str) -> Sample:
    where.fresh("target")
    where.settle()
    return where.apply(plans.refresh((), checksums), "--until", until)[0]


def _pgcopydb(where: Place) -> Sample:
    where.fresh("target")
    where.settle()
    words = ("--table-jobs", "2", "--index-jobs", "2", "--dir", str(where.home / "pgcopydb"), "--restart")
    return where.run(["pgcopydb", "clone", "--source", where.url("source"), "--target", where.url("target"), *words])


SUBJECT = Subject("prepare", __doc__, Size(), Size(scale=1, tables=2, rows=10, wide=10), groups)
