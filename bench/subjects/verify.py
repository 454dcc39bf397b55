"""The proof of a backup at level 3, and its restore, beside pg_restore -j2 of the same tables.

Level 3 restores every table into a scratch database and compares rows and content with the snapshot. `--server` makes
the scratch database on the server of the peer; without it planrun starts a private server, which takes its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench import plans
from bench.data import fill_tables
from bench.place import Place
from bench.programs import dump, restore
from bench.sample import Group, Sample, Way
from bench.subject import Subject

PEER = "pg_restore -j2"


@dataclass(frozen=True)
class Size:
    tables: int = 50
    rows: int = 10_000


def groups(where: Place, size: Size) -> Iterator[Group]:
    fill_tables(where.fresh("verify"), size.tables, size.rows)
    plan = str(plans.write(where.home / "verify.yml", plans.backup("sessions", "copy")))
    env = where.env(DATABASE_URL=where.url("verify"))
    where.planrun("apply", plan, "--yes", env=env)
    where.run(dump(where, "verify", where.home / "directory"))
    ours = partial(where.planrun, env=env)
    verify = ("backups", "verify", plan, "latest", "--level", "3")
    on_server = (*verify, "--server", where.url("postgres"))
    ways = [
        Way(PEER, partial(_restore, where)),
        Way("planrun backups verify --level 3 --server", partial(ours, *on_server), (PEER,)),
        Way("planrun backups verify --level 3", partial(ours, *verify), (PEER,), headlines=0),
        Way("planrun backups restore", partial(_ours, where, plan), (PEER,)),
    ]
    yield Group("session", f"a backup of {size.tables} tables of {size.rows:,} rows", ways)


def _restore(where: Place) -> Sample:
    where.fresh("restored")
    where.settle()
    return where.run(restore(where, "restored", where.home / "directory"))


def _ours(where: Place, plan: str) -> Sample:
    where.fresh("restored")
    where.settle()
    words = ("backups", "restore", plan, "latest", "--yes", "--into", where.url("restored"))
    return where.planrun(*words, env=where.env(DATABASE_URL=where.url("verify")))


SUBJECT = Subject("verify", __doc__, Size(), Size(tables=2, rows=10), groups)
