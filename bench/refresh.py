"""The replacement of a live database's tables: swap, stall, catch-up and prepare, each beside its peers.

Servers of our own, durable (fsync on a real disk). swap: milliseconds from the first lock to the answer to COMMIT.
stall: the longest transaction that clients of the tables saw. catch-up: what the keys of a preserved table add to the
locks. prepare: source to target, beside the programs that copy a whole database.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from bench import clients
from bench.timing import Measured, command, measured, seconds, table
from runner.server import embedded, programs

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "max_locks_per_transaction": "512",  # 14,000 locks of the renames of 1,000 tables
}
ONE = (
    "create table {n} (id serial primary key, v text unique, n int, c text check (c <> 'z')); create index on {n} (n);"
)
ROWS = "insert into {n} (v, n, c) select 'v' || g, {value}, 'c' from generate_series(1, 10) as g;"
PARTS = ("{n}_id_seq", "{n}_n_idx", "{n}_pkey", "{n}_v_key", "{n}_c_check", "{n}_n_fkey")


@dataclass(frozen=True)
class Place:
    """A throw-away server and a folder beside it."""

    server: embedded.Server
    home: Path

    def url(self, name: str) -> str:
        return psycopg.conninfo.make_conninfo(**{**self.server.words, "dbname": name})

    def fresh(self, name: str) -> str:
        """Make a database anew, empty."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as conn:
            conn.execute(f"drop database if exists {name} with (force)")
            conn.execute(f"create database {name} template template0")
        return self.url(name)

    def planrun(self, plan: str, source: str, target: str, *words: str) -> dict[str, Any]:
        """Apply a plan; return the steps that acted by path, with the seconds of all under ""."""
        file = self.home / "refresh.yml"
        file.write_text(plan)
        env = {**os.environ, "PLANRUN_SOURCE_URL": self.url(source), "PLANRUN_TARGET_URL": self.url(target)}
        env |= {"PLANRUN_STATE_DIR": str(self.home / "state")}
        argv = [sys.executable, "-m", "runner", "apply", str(file), "--yes", "-o", "json", *words]
        done = subprocess.run(argv, env=env, capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())
        told = json.loads(done.stdout)
        return {"": {"seconds": told["seconds"]}} | {step["path"]: step for step in told["steps"]}


def plan(preserved: Sequence[str] = (), checksums: bool = True) -> str:
    proof = f"{{level: {'checksum' if checksums else 'counts'}}}"
    return f"""\
name: refresh
connections: {{source: {{}}, target: {{}}}}
steps:
  - id: prepare
    steps:
      - {{id: load, uses: shadow_load, with: {{from: source, checksums: {json.dumps(checksums)}}}}}
      - {{id: sync, uses: shadow_sync, with: {{tables: {json.dumps(list(preserved))}}}}}
      - {{id: check, uses: shadow_verify, with: {proof}}}
  - {{id: cleanup, when: prepare.ok, uses: drop_backup_set}}
  - {{id: swap, when: prepare.ok, uses: swap_tables}}
"""


@contextlib.contextmanager
def place(major: int) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as home:
        found = [one for one in programs.find_installed() if one.major == major and not one.no_server]
        these = found[0] if found else programs.server_for()
        with embedded.private_server(these, base=Path(tempfile.gettempdir()), settings=SETTINGS) as server:
            yield Place(server, Path(home))


# ------------------------------------------------------------------ swap


def tables(url: str, count: int, prefix: str = "") -> None:
    """Make tables with a primary key, a unique constraint, an index, a check, a sequence, and a chain of keys."""
    with psycopg.connect(url, autocommit=True) as conn:
        for at in range(count):
            name, before = f"{prefix}t{at}", f"{prefix}t{at - 1}"
            conn.execute(ONE.format(n=name) + ROWS.format(n=name, value="g" if at else "0"))
            if at:
                conn.execute(f"alter table {name} add constraint {name}_n_fkey foreign key (n) references {before}")
        conn.execute("analyze")


def renames(count: int, frm: str, to: str) -> list[str]:
    """Return the hand-written statements that rename every table with its sequence, index and constraints."""
    made = []
    for at in range(count):
        old, new = f"{frm}t{at}", f"{to}t{at}"
        made.append(f"alter table {old} rename to {new}")
        for number, part in enumerate(PARTS if at else PARTS[:-1]):
            a, b = part.format(n=old), part.format(n=new)
            what = ("sequence", "index")[number] if number < 2 else ""
            made.append(
                f"alter {what} {a} rename to {b}" if what else f"alter table {new} rename constraint {a} to {b}"
            )
    return made


class Hand:
    """The transaction that somebody writes by hand: there and back again, each time in a session of its own."""

    def __init__(self, where: Place, count: int) -> None:
        self._url, self._count = where.fresh("hand"), count
        self._ways = [[("", "backup_"), ("new_", "")], [("", "new_"), ("backup_", "")]]
        tables(self._url, count)
        tables(self._url, count, "new_")

    def seconds(self, whole: bool) -> float:
        texts = [text for way in self._ways[0] for text in renames(self._count, *way)]
        self._ways.reverse()
        with psycopg.connect(self._url, autocommit=True) as conn:
            began = time.perf_counter()
            for text in ["begin; " + "; ".join(texts) + "; commit"] if whole else ["begin", *texts, "commit"]:
                conn.execute(text)
            return time.perf_counter() - began


class Ours:
    """The same tables, replaced by planrun from a source."""

    def __init__(self, where: Place, count: int) -> None:
        self._place, self._count = where, count
        for name in ("source", "target"):
            tables(where.fresh(name), count)

    def prepare(self) -> None:
        self._place.planrun(plan(), "source", "target", "--until", "prepare")

    def swap(self) -> float:
        """Return the seconds from the first lock to the answer to COMMIT.

        planrun counts from when it has all locks, so what one LOCK TABLE takes is added.
        """
        told = self._place.planrun(plan(), "source", "target", "--resume")["swap"]["outputs"]
        return float(told["locked_ms"]) / 1000 + self._locking()

    def seconds(self) -> float:
        self.prepare()
        return self.swap()

    def _locking(self) -> float:
        names = ", ".join(f"public.t{at}" for at in range(self._count))
        with psycopg.connect(self._place.url("target")) as conn:
            conn.execute("lock table public.t0 in access exclusive mode")  # a new session is slow at first
            return seconds(lambda: conn.execute(f"lock table {names} in access exclusive mode"))


def swap(where: Place, counts: Sequence[int], rounds: int) -> None:
    for count in counts:
        hand, ours = Hand(where, count), Ours(where, count)
        found = measured(
            {
                "renames by hand, one string": partial(hand.seconds, True),
                "renames by hand, statement by statement": partial(hand.seconds, False),
                "planrun swap_tables": ours.seconds,
            },
            rounds,
        )
        print(f"\nswap of {count:,} tables, first lock to COMMIT")
        print(table(found, "renames by hand, one string"), flush=True)


# ------------------------------------------------------------------ stall


def stall(where: Place, counts: Sequence[int], rounds: int) -> None:
    """Print the longest transaction of 4 clients that read and write all tables, as each way swaps them."""
    for count in counts:
        hand, ours = Hand(where, count), Ours(where, count)
        watched = partial(clients.longest, where.server.programs, where.home)
        by_hand = partial(watched, where.url("hand"), count)
        found = measured(
            {
                "no swap": partial(by_hand, lambda: time.sleep(2)),
                "renames by hand, one string": partial(by_hand, partial(hand.seconds, True)),
                "renames by hand, statement by statement": partial(by_hand, partial(hand.seconds, False)),
                "planrun swap_tables": partial(
                    _prepared, ours, partial(watched, where.url("target"), count, ours.swap)
                ),
            },
            rounds,
            warm=False,
        )
        print(f"\nlongest transaction that 4 clients saw, swap of {count:,} tables")
        print(table(found, "no swap"), flush=True)


def _prepared(ours: Ours, then: Measured) -> float:
    ours.prepare()
    return then()


# ------------------------------------------------------------------ catch-up

DRIFT = "update pgbench_accounts set abalance = abalance + 1 where aid <= {keys}"


def catch_up(where: Place, scale: int, rounds: int) -> None:
    """Print how long the locks are held with keys of a preserved table waiting: none, some, and clients at work."""
    for name in ("source", "target"):
        clients.pgbench(where.server.programs, where.fresh(name), scale)
    found = measured(
        {f"{keys:,} keys waiting": partial(_caught_up, where, keys) for keys in (0, 100, 1000)}
        | {"20,000 keys waiting, caught up before but for the last": partial(_caught_up, where, 20_000)}
        | {"4 clients at work": partial(_caught_up, where, -1)},
        rounds,
        warm=False,
    )
    print(f"\nlocks held to COMMIT, pgbench_accounts ({scale * 100_000:,} rows) preserved")
    print(table(found, "0 keys waiting"), flush=True)


def _caught_up(where: Place, keys: int) -> float:
    apply = partial(where.planrun, plan(["pgbench_accounts"]), "source", "target")
    apply("--until", "prepare")
    with contextlib.ExitStack() as stack:
        if keys < 0:
            stack.enter_context(clients.at_work(where.server.programs, where.url("target")))
        else:
            with psycopg.connect(where.url("target")) as conn:
                conn.execute(DRIFT.format(keys=keys))
        return float(apply("--resume")["swap"]["outputs"]["locked_ms"]) / 1000


# ------------------------------------------------------------------ prepare

MANY = """
do $$ begin
  for i in 1..100 loop
    execute format('create table m%s (id int primary key, other int unique, name text, at timestamptz)', i);
    execute format('insert into m%s select g, g, ''name '' || g, now() from generate_series(1, {rows}) g', i);
    execute format('create index on m%s (name)', i);
    if i > 1 then execute format('alter table m%s add foreign key (other) references m%s', i, i - 1); end if;
  end loop;
end $$;
create table wide (id int primary key, data jsonb, body text);
insert into wide select g, jsonb_build_object('n', g, 'h', md5(g::text)), string_agg(md5((g * 100 + n)::text), '')
from generate_series(1, {wide}) g, generate_series(1, 115) n group by g;
analyze
"""


class Copying:
    """Ways from the database `source` to a fresh `target`; each says how many seconds it took."""

    def __init__(self, where: Place, scale: int, rows: int, wide: int) -> None:
        self._place, self._home = where, where.home
        self.cpu: dict[str, list[float]] = {}
        self._tool = where.server.programs.tool
        path = f"{where.server.programs.bin}:{os.environ['PATH']}"
        self._env = {**os.environ, **where.server.programs.env, "PATH": path}
        clients.pgbench(where.server.programs, where.fresh("source"), scale)
        with psycopg.connect(where.url("source"), autocommit=True) as conn:
            conn.execute(MANY.format(rows=rows, wide=wide))
            found = conn.execute("select pg_catalog.pg_database_size(current_database())").fetchone()
            self.size = int(found[0]) if found else 0

    def ways(self) -> dict[str, Measured]:
        ways: dict[str, Callable[[str], object]] = {
            PEER: partial(self._dump, ()),
            "the same with -Z0": partial(self._dump, ("-Z0",)),
            "planrun prepare": partial(self._ours, True),
            "planrun prepare, no checksums": partial(self._ours, False),
        }
        if shutil.which("pgcopydb"):
            ways["pgcopydb clone"] = self._pgcopydb
        return {name: partial(self._timed, name, work) for name, work in ways.items()}

    def _run(self, *argv: str) -> None:
        command(argv, self._env)()

    def _target(self) -> str:
        """Make the target anew, and wait until all that is written is on the disk."""
        url = self._place.fresh("target")
        with psycopg.connect(self._place.url("postgres"), autocommit=True) as conn:
            conn.execute("checkpoint")
        os.sync()
        return url

    def _timed(self, name: str, work: Callable[[str], object]) -> float:
        """Return the seconds of one way; where others use the machine as well, the CPU seconds say more."""
        url = self._target()
        before = self._cpu()
        took = seconds(partial(work, url))
        time.sleep(1)  # a session of the server ends a little later than its client, and counts when it has ended
        client, server = (now - then for now, then in zip(self._cpu(), before, strict=True))
        self.cpu.setdefault(name, []).append(client + server)
        print(f"  {took:6.1f} s, CPU {client:5.1f} s + server {server:5.1f} s  {name}", file=sys.stderr, flush=True)
        return took

    def _cpu(self) -> tuple[float, float]:
        """Return the CPU seconds of our children, and of the server's sessions that have ended."""
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = Path(f"/proc/{self._place.server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return ours.ru_utime + ours.ru_stime, sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")

    def _dump(self, words: Sequence[str], url: str) -> None:
        folder = str(self._home / "dump")
        shutil.rmtree(folder, ignore_errors=True)
        self._run(self._tool("pg_dump"), "-Fd", "-j2", *words, "-f", folder, "-d", self._place.url("source"))
        self._run(self._tool("pg_restore"), "-j2", "-d", url, folder)

    def _pgcopydb(self, url: str) -> None:
        words = ("--table-jobs", "2", "--index-jobs", "2", "--dir", str(self._home / "pgcopydb"), "--restart")
        self._run("pgcopydb", "clone", "--source", self._place.url("source"), "--target", url, *words)

    def _ours(self, checksums: bool, url: str) -> None:
        self._place.planrun(plan((), checksums), "source", "target", "--until", "prepare")


PEER = "pg_dump -Fd -j2, pg_restore -j2"


def prepare(where: Place, scale: int, rows: int, wide: int, rounds: int) -> None:
    copying = Copying(where, scale, rows, wide)
    found = measured(copying.ways(), rounds, warm=False)
    print(f"\ncopy of a database of {copying.size / 1e6:,.0f} MB")
    print(table(found, PEER))
    print("CPU seconds, of clients and server")
    print(table({name: statistics.median(took) for name, took in copying.cpu.items()}, PEER), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small tables, one round")
    parser.add_argument("--major", type=int, default=15, help="version of the servers")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("only", nargs="*", default=["swap", "stall", "catch_up", "prepare"])
    given = parser.parse_args()
    quick = bool(given.quick)
    rounds = given.rounds or (1 if quick else 3)
    parts = {
        "swap": partial(swap, counts=(10, 100) if quick else (10, 100, 1000), rounds=rounds),
        "stall": partial(stall, counts=(10, 100), rounds=rounds),
        "catch_up": partial(catch_up, scale=1 if quick else 10, rounds=rounds),
        "prepare": partial(prepare, scale=3 if quick else 30, rows=1000 if quick else 10_000,
                           wide=5000 if quick else 80_000, rounds=rounds),
    }  # fmt: skip
    for name in given.only:
        print(f"\n{name}: load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        with place(given.major) as where:
            parts[name](where)


if __name__ == "__main__":
    main()
