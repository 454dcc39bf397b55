"""One large table, pgbench_accounts, loaded by a refresh; beside the server's own COPY from a file that is ready.

The peer reads no other server, writes rows into a table without a key, and then adds the key: the floor for the
server. planrun reads the source, proves nothing here, adds the key and collects statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench import plans
from bench.data import accounts
from bench.place import Place
from bench.sample import Group, Sample, Way
from bench.subject import Subject

PEER = "COPY from a file, primary key, VACUUM ANALYZE"
WRITE = "copy pgbench_accounts to '{file}' (format binary)"
READ = """
begin;
create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84)) with (fillfactor=100);
copy pgbench_accounts from '{file}' (format binary, freeze);
alter table pgbench_accounts add primary key (aid);
commit
"""


@dataclass(frozen=True)
class Size:
    rows: int = 5_000_000


def groups(where: Place, size: Size) -> Iterator[Group]:
    accounts(where.fresh("source"), size.rows)
    with where.connect("source") as conn:
        found = conn.execute("show data_directory").fetchone()
        file = f"{found[0] if found else ''}/accounts"  # where the server may write
        conn.execute(WRITE.format(file=file))
    ways = [
        Way(PEER, partial(_copy, where, file)),
        Way("planrun load alone", partial(_ours, where), (PEER,)),
    ]
    yield Group("accounts", f"one table of {size.rows:,} rows", ways)


def _copy(where: Place, file: str) -> Sample:
    where.fresh("target")
    where.settle()
    with where.connect("target") as conn:
        return where.time(lambda: [conn.execute(text) for text in (READ.format(file=file), "vacuum analyze")])


def _ours(where: Place) -> Sample:
    where.fresh("target")
    where.settle()
    return where.apply(plans.refresh((), False), "--until", "prepare.load")[0]


SUBJECT = Subject("one_table", __doc__, Size(), Size(rows=100), groups)
