"""A refresh under clients at work: no error, no lost write, no empty table, also for those with an older snapshot."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.commandline import connect_to, wait_for
from tests.refreshes import KEEPING, Clients, Pair, dumped_rows, not_as_in_the_source, old_snapshot, shop

NewDb = Callable[[], str]
Conn = psycopg.Connection[Any]

MIRROR = """
create schema mirror;
create table mirror.users as table users;
create table mirror.sessions as table sessions;
alter table mirror.users add primary key (id), add unique (email);
alter table mirror.sessions add primary key (app, token);
"""
"""Tables outside of the job, to which each client does in the same transaction what it does to the preserved ones."""

ORDERS = (30, 4000)


def changes(number: int, turn: int) -> tuple[str, list[str]]:
    """Return a preserved table and statements with {t} for it; each client has keys of its own."""
    dice = random.Random(number * 1_000_000 + turn)
    base = (number + 1) * 1_000_000
    key, other = base + dice.randrange(40), base + 500 + dice.randrange(40)
    if dice.random() < 0.3:
        return "sessions", [
            f"insert into {{t}} values ('app {number}', {key}, 1) on conflict (app, token) do update set v = {turn}",
            f"delete from {{t}} where app = 'app {number}' and token >= {base + 100000}",
            f"update {{t}} set token = token + 100000, v = null where app = 'app {number}' and token % 7 = {turn % 7}"
            f" and token < {base + 100000}",
            f"delete from {{t}} where app = 'app {number}' and v is null and token % 3 = {turn % 3}",
        ]
    return "users", dice.choice(
        [
            [f"insert into {{t}} values ({key}, 'c {key}', {turn}) on conflict do nothing"],
            [f"update {{t}} set v = {turn} where id between {base} and {key}"],
            [f"update {{t}} set id = {other} where id = {key} and not exists (select from {{t}} where id = {other})"],
            [f"delete from {{t}} where id in ({key}, {other})"],
            [  # a unique value goes from one key to another
                f"delete from {{t}} where email = 'c {key}'",
                f"insert into {{t}} values ({other}, 'c {key}', 5)"
                " on conflict (id) do update set email = excluded.email",
            ],
            [f"update {{t}} set email = null, v = -1 where id = {number * 40 + turn % 40 + 1}"],
        ]
    )


def write(conn: Conn, number: int, turn: int) -> None:
    table, statements = changes(number, turn)
    with conn.transaction():
        for schema in ("public", "mirror"):
            for statement in statements:
                conn.execute(statement.format(t=f"{schema}.{table}").encode())


def truncate(conn: Conn, number: int, turn: int) -> None:
    write(conn, number, turn)
    if turn % 40 == 39:
        conn.execute("truncate public.sessions, mirror.sessions")


def read(conn: Conn, number: int, turn: int) -> None:
    """Read every table; what is missing is told like an error."""
    for table in ("orders", "lines", "big_orders", "users", "sessions"):
        row = conn.execute(f"select count(*) from {table}".encode()).fetchone()
        assert row
        if table in ("orders", "lines") and row[0] not in ORDERS:
            raise psycopg.DataError(f"{table} had {row[0]} rows")
    with conn.transaction():
        conn.execute('select * from big_orders join users on users.id = "user" limit 5')
        conn.execute("select n from totals")


def unlike_their_mirror(pair: Pair) -> list[tuple[Any, ...]]:
    return [
        row
        for table in ("users", "sessions")
        for row in pair.ask(
            f"(table public.{table} except table mirror.{table}) union all"
            f" (table mirror.{table} except table public.{table})"
        )
    ]


@pytest.mark.parametrize("times", [2])
def test_clients_lose_no_write_and_see_no_error(new_db: NewDb, tmp_path: Path, times: int) -> None:
    pair = shop(tmp_path, new_db, KEEPING, orders=ORDERS[1])
    pair.fill(MIRROR, only="target")
    with Clients(pair.target, truncate, write, write, read, read) as clients:
        for _ in range(times):
            wait_for(clients.more(5))
            done = pair.here("apply", "plan.yml", "--yes")
            assert done.code == 0, (done.output, clients.errors)
            wait_for(clients.more(5))
    assert clients.errors == []
    assert unlike_their_mirror(pair) == []
    assert not_as_in_the_source(pair) == []
    assert min(clients.turns) > 20


def test_clients_work_on_through_a_rollback(new_db: NewDb, tmp_path: Path) -> None:
    plan = KEEPING.replace("uses: swap_tables", "uses: swap_tables, with: {rollback_window: 1h}")
    pair = shop(tmp_path, new_db, plan, orders=ORDERS[1])
    pair.fill(MIRROR, only="target")
    with Clients(pair.target, truncate, write, read) as clients:
        wait_for(clients.more(5))
        assert (done := pair.here("apply", "plan.yml", "--yes")).code == 0, (done.output, clients.errors)
        wait_for(clients.more(30))
        assert (done := pair.here("rollback", "plan.yml", "--yes")).code == 0, (done.output, clients.errors)
        wait_for(clients.more(5))
    assert clients.errors == []
    assert unlike_their_mirror(pair) == []
    assert pair.ask("select count(*) from orders") == [(30,)]


def test_a_writer_under_another_role_and_with_triggers_off(new_db: NewDb, tmp_path: Path) -> None:
    """Keys are noted for roles that may not see schema planrun, and in sessions that replicate."""
    pair = shop(tmp_path, new_db, KEEPING)
    pair.fill("do $$ begin create role planrun_test_reader; exception when duplicate_object or unique_violation then"
              " null; end $$; grant all on users, sessions to planrun_test_reader", only="target")  # fmt: skip
    pair.apply("--until", "prepare")
    with connect_to(pair.target) as conn:
        conn.execute("set role planrun_test_reader; set search_path = pg_temp")
        conn.execute("update public.users set v = 41 where id = 1")
        conn.execute("reset role; set session_replication_role = replica")
        conn.execute("update public.users set v = 42 where id = 2; delete from public.users where id = 3")
        conn.execute("truncate public.sessions")
    pair.apply("--resume")
    assert pair.ask("select id, v from users where id <= 3 order by id") == [(1, 41), (2, 42)]
    assert pair.ask("select count(*) from sessions") == [(0,)]


# ------------------------------------------------------------------ older snapshots


def test_an_older_snapshot_sees_rows_after_the_swap(new_db: NewDb, tmp_path: Path) -> None:
    pair = shop(tmp_path, new_db)
    with old_snapshot(pair.target) as (report, snapshot):
        pair.apply()
        assert report.execute("select count(*) from orders").fetchone() == (3000,)
        assert report.execute("select count(*) from lines").fetchone() == (3000,)
        assert report.execute("select count(*) from big_orders").fetchone() != (0,)
        assert report.execute("select n from totals").fetchone() == (3000,)
        assert report.execute("select count(*) from orders where id = 5").fetchone() == (1,)
        assert dumped_rows(pair.target, snapshot, "public.orders") == 3000


def test_an_older_snapshot_never_misses_rows_of_a_preserved_table(new_db: NewDb, tmp_path: Path) -> None:
    """Rows that were caught up are younger than the snapshot: the swap waits for its end, and says for whom."""
    pair = shop(tmp_path, new_db, KEEPING.replace("swap_tables}", "swap_tables, with: {deadline: 2s}}"))
    pair.apply("--until", "prepare")
    with old_snapshot(pair.target) as (report, _):
        pair.fill("update users set v = 99 where id <= 50", only="target")
        done = pair.here("apply", "plan.yml", "--yes", "--resume")
        assert report.execute("select count(*) from users").fetchone() == (200,), done.output
        if done.code:
            assert done.code == 1 and str(report.info.backend_pid) in done.output, done.output
            assert "old report" in done.output
    if done.code:
        pair.apply("--resume")
    assert pair.ask("select count(*) from users where v = 99") == [(50,)]
