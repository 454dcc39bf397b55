"""What the tests of a refresh share: a source and a target with a plan, other sessions at work, a small shop."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
from psycopg import conninfo

from runner.cli import main
from runner.server import programs
from tests.catalogs import catalog, contents, difference, differing_tables
from tests.commandline import Done, House, connect_to

NORTHWIND = Path(__file__).parents[2] / "shared" / "data" / "northwind.sql"
WIDE = Path(__file__).parent / "wide.sql"

PLAN = """
name: refresh
connections: {source: {}, target: {}}
steps:
  - id: prepare
    steps:
      - {id: load, uses: shadow_load, with: {from: source, schema: public}}
      - {id: check, uses: shadow_verify, with: {level: checksum}}
  - {id: cleanup, when: prepare.ok, on_error: warn, uses: drop_backup_set}
  - {id: swap, when: prepare.ok, uses: swap_tables}
rollback:
  - {id: back, uses: swap_back}
"""
"""Everything of schema public, nothing preserved."""


# ------------------------------------------------------------------ two databases and a plan


class Pair(House):
    """A folder with a plan whose connections `source` and `target` lead to two databases."""

    def __init__(self, folder: Path, source: str, target: str, plan: str = PLAN) -> None:
        super().__init__(folder, target, plan)
        self.source, self.target = source, target
        self.env |= {"PLANRUN_SOURCE_URL": source, "PLANRUN_TARGET_URL": target}

    def fill(self, *texts: str, only: str = "") -> None:
        """Run SQL in both databases, or only in `source` or `target`."""
        for name in (only,) if only else ("source", "target"):
            with connect_to(getattr(self, name)) as conn:
                for text in texts:
                    conn.execute(text.encode())

    def ask(self, query: str, *, of: str = "") -> list[tuple[Any, ...]]:
        """Return the rows of a query to the target (or to the database `of`)."""
        with connect_to(of or self.target) as conn:
            return conn.execute(query.encode()).fetchall()

    def here(self, *args: str, env: Mapping[str, str] | None = None) -> Done:
        """Run a command in this process, which saves the half second that a new one takes to start."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, {**self.env, **(env or {})}),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(list(args))
        return Done(code, out.getvalue(), err.getvalue())

    def ok(self, *args: str, env: Mapping[str, str] | None = None) -> Done:
        done = self.here(*args, env=env)
        assert done.code == 0, done.output
        return done

    def apply(self, *more: str) -> Done:
        return self.ok("apply", "plan.yml", "--yes", *more)


class Before:
    """The target as it was: `changes` returns what is different now, "" if nothing is."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.everything = catalog(pair.target, whole=True)
        self.live = catalog(pair.target)
        self.rows = contents(pair.target)

    def changes(self) -> str:
        """Compare all but what planrun may leave after a failure: its journal and its shadow schemas."""
        rows = [f"rows of {name}" for name in differing_tables(self.rows, contents(self.pair.target))]
        return "\n".join([difference(self.everything, catalog(self.pair.target, whole=True)), *rows]).strip()

    def catalog_changes(self, *allowed: str) -> str:
        """Compare the catalogs without the backup sets."""
        return difference(self.live, catalog(self.pair.target), allowed)


NEW = """
    select m.schema || '.' || m.name from planrun.member m join planrun.refresh r on r.id = m.refresh
    where r.state = 'swapped' and m.side = 'new' and m.kind = 'table'
      and not exists (select from pg_class c where c.oid = m.oid and m.catalog = 'pg_class' and c.relkind = 'p')
      and not coalesce(r.about -> 'preserved', '[]') ? m.name
"""
"""The live tables whose rows came from the source."""


def not_as_in_the_source(pair: Pair) -> list[str]:
    """Return the replaced tables whose rows are not those of the source; there must be replaced tables."""
    source, target = contents(pair.source), contents(pair.target)
    names = [name for (name,) in pair.ask(NEW)]
    assert names
    return [name for name in names if target.get(name) != source.get(name)]


# ------------------------------------------------------------------ other sessions


@contextlib.contextmanager
def old_snapshot(db: str) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A REPEATABLE READ session whose snapshot is taken now, and the snapshot's name for `pg_dump --snapshot`.

    It has read no table, so it holds no lock on any.
    """
    with psycopg.connect(db, application_name="old report") as conn:
        conn.execute("set transaction isolation level repeatable read, read only")
        row = conn.execute("select pg_export_snapshot()").fetchone()
        assert row
        yield conn, row[0]


def dumped_rows(db: str, snapshot: str, table: str) -> int:
    """Return how many rows pg_dump sees of a table in another session's snapshot."""
    with connect_to(db) as conn:
        these = programs.pg_dump_for(conn.info.server_version // 10000)
    argv = [these.tool("pg_dump"), "-d", db, "--data-only", "--inserts", f"--snapshot={snapshot}", "-t", table]
    done = subprocess.run(argv, env={**os.environ, **these.env}, capture_output=True, text=True, check=True)
    return done.stdout.count("INSERT INTO")


Work = Callable[[psycopg.Connection[Any], int, int], None]
"""What one client does in a turn: (connection in autocommit, the client's number, the turn's number)."""


class Clients:
    """Connections that work in threads of their own until the block ends. `errors` contains all their errors."""

    def __init__(self, db: str, *works: Work) -> None:
        self.db, self.works = db, works
        self.errors: list[str] = []
        self.turns = [0] * len(works)
        self.longest = 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=item, daemon=True) for item in enumerate(works)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)
            assert not thread.is_alive(), "a client hangs"

    def _client(self, number: int, work: Work) -> None:
        with psycopg.connect(self.db, autocommit=True, application_name=f"client {number}") as conn:
            while not self._stop.is_set():
                try:
                    work(conn, number, self.turns[number])
                except psycopg.Error as error:
                    self.errors.append(f"client {number}: {type(error).__name__}: {error}")
                    if conn.closed or len(self.errors) > 20:
                        return
                self.turns[number] += 1

    def more(self, turns: int = 3) -> Callable[[], bool]:
        """Return a condition that holds when every client has done so many more turns."""
        then = list(self.turns)
        return lambda: (
            bool(self.errors) or all(now >= before + turns for now, before in zip(self.turns, then, strict=True))
        )


def words_of(db: str) -> Mapping[str, str]:
    return {name: str(value) for name, value in conninfo.conninfo_to_dict(db).items()}


def texts(folder: Path, *names: str) -> Sequence[str]:
    """Return the texts of those files of a folder that are there."""
    return [(folder / name).read_text() for name in names if (folder / name).exists()]


# ------------------------------------------------------------------ a small shop

SHOP = """
create table users (id int primary key, email text unique, v int);
create table sessions (app text, token int, v int, primary key (app, token));
create table orders (id serial primary key, "user" int, amount numeric);
create table lines (order_id int references orders, line int, primary key (order_id, line));
create view big_orders as select * from orders where amount > 10;
create materialized view totals as select count(*) as n from orders;
"""
FEW = """
insert into users select n, 'old ' || n, 0 from generate_series(1, 200) n;
insert into sessions select 'web', n, 0 from generate_series(1, 200) n;
insert into orders ("user", amount) select n, n from generate_series(1, 30) n;
insert into lines select id, 1 from orders;
refresh materialized view totals;
"""
MANY = """
insert into users select n, 'new ' || n, 1 from generate_series(1, 20) n;
insert into orders ("user", amount) select 1 + n % 20, n % 100 from generate_series(1, {orders}) n;
insert into lines select id, 1 from orders;
refresh materialized view totals;
"""


def shop(folder: Path, new_db: Callable[[], str], plan: str = PLAN, orders: int = 3000) -> Pair:
    """Return a pair with a small target and a source with so many orders."""
    pair = Pair(folder, new_db(), new_db(), plan)
    pair.fill(SHOP)
    pair.fill(FEW, only="target")
    pair.fill(MANY.format(orders=orders), only="source")
    return pair


def plan_that_keeps(*tables: str) -> str:
    """Return the plan in which these tables keep the rows of the target."""
    sync = f"      - {{id: sync, uses: shadow_sync, with: {{tables: [{', '.join(tables)}]}}}}\n"
    return PLAN.replace("      - {id: check,", f"{sync}      - {{id: check,")


KEEPING = plan_that_keeps("users", "sessions")
