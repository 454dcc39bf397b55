"""A refresh that is cut off, locked out or unanswered: before or after a step, never between; --resume goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from tests.catalogs import contents, differing_tables
from tests.commandline import wait_for
from tests.faultproxy import FaultProxy, target_of
from tests.refreshes import KEEPING, MANY, PLAN, Before, Pair, not_as_in_the_source, shop, words_of
from tests.servers import Server

NewDb = Callable[[], str]
RESUME = ("apply", "plan.yml", "--yes", "--resume")
SHADOWS = "select nspname from pg_namespace where nspname like 'planrun\\_shadow%'"
BLOCKED = "select from pg_stat_activity where {} = any (pg_blocking_pids(pid))"
BUSY = "select pid from pg_stat_activity where application_name like 'planrun%' and datname = '{}'"


@pytest.fixture(params=[PLAN, KEEPING], ids=["all", "keeping"])
def pair(new_db: NewDb, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = shop(tmp_path, new_db, request.param)
    yield made
    made.close()


@pytest.fixture
def plain(new_db: NewDb, tmp_path: Path) -> Iterator[Pair]:
    made = shop(tmp_path, new_db)
    yield made
    made.close()


@pytest.fixture
def proxy(pg_server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(target_of(pg_server.words)) as made:
        yield made


def through(proxy: FaultProxy, db: str) -> str:
    return conninfo.make_conninfo("", **proxy.words(words_of(db)))


def check_finished(pair: Pair, before: Before) -> None:
    """After all went well in the end: the source's rows, the target's catalog, one set, and nothing left over."""
    assert not_as_in_the_source(pair) == []
    assert before.catalog_changes() == ""
    assert pair.ask("select count(*) from planrun.refresh where state = 'swapped'") == [(1,)]
    assert pair.ask("select id, state from planrun.refresh where state in ('loading', 'loaded')") == []
    assert pair.ask(SHADOWS) == []
    assert pair.ask("select tgname from pg_trigger where tgname like 'planrun%'") == []


def kill(pair: Pair, process: subprocess.Popen[str]) -> None:
    process.kill()
    pair.end(process, killed=True)  # and it has left no child
    wait_until_gone(pair, pair.source)
    wait_until_gone(pair, pair.target)


def wait_until_gone(pair: Pair, db: str) -> None:
    """Wait until the server has noticed that planrun is no more."""
    wait_for(lambda: pair.ask(BUSY.format(words_of(db)["dbname"])) == [])


# ------------------------------------------------------------------ kill -9


def test_a_kill_in_the_load(pair: Pair, proxy: FaultProxy) -> None:
    before = Before(pair)
    pair.fill(MANY.format(orders=60_000).split(";")[1], only="source")
    proxy.rate = 2_000_000
    process = pair.start("apply", "plan.yml", "--yes", env={"PLANRUN_SOURCE_URL": through(proxy, pair.source)})
    copying = f"select from pg_stat_progress_copy where datname = '{words_of(pair.target)['dbname']}'"
    wait_for(lambda: pair.ask(copying), 20)
    kill(pair, process)
    assert differing_tables(before.rows, contents(pair.target)) == []
    assert "--resume" in pair.ok("status", "plan.yml").out
    pair.ok(*RESUME)
    check_finished(pair, before)


def test_a_kill_while_it_waits_for_the_locks(pair: Pair) -> None:
    before = Before(pair)
    pair.apply("--until", "prepare")
    with psycopg.connect(pair.target) as other:
        other.execute("lock table orders in access share mode")
        process = pair.start(*RESUME)
        wait_for(lambda: pair.ask(BLOCKED.format(other.info.backend_pid)), 15)
        kill(pair, process)
    assert differing_tables(before.rows, contents(pair.target)) == []
    assert before.catalog_changes() == "" or "planrun_keys" in before.catalog_changes()
    pair.ok(*RESUME)
    check_finished(pair, before)


KILL = """
import os, psycopg
real, swapping = psycopg.Connection.execute, []
def execute(conn, query, *args, **more):
    text = query.decode() if isinstance(query, bytes) else str(query)
    if "{moment}" == "before" and conn in swapping and text.lower().endswith("commit"):
        os.kill(os.getpid(), 9)
    result = real(conn, query, *args, **more)
    if text.startswith("lock table"):
        swapping.append(conn)
    if " rename to " in text.lower() and "backup_" in text:
        if "{moment}" == ("inside" if conn in swapping else "early"):
            os.kill(os.getpid(), 9)
    if "{moment}" == "after" and conn in swapping and text.lower().endswith("commit"):
        os.kill(os.getpid(), 9)
    return result
psycopg.Connection.execute = execute
"""


@pytest.mark.parametrize("moment", ["early", "inside", "before", "after"])
def test_a_kill_in_the_swap(plain: Pair, moment: str) -> None:
    """Early: the indexes have other names in a transaction that nobody sees, and no lock on a table is requested."""
    before = Before(plain)
    plain.apply("--until", "prepare")
    process = plain.start(*RESUME, before=KILL.format(moment=moment))
    done = plain.end(process, killed=True)
    assert done.code == -9, done.output
    wait_until_gone(plain, plain.target)
    swapped = plain.ask("select count(*) from planrun.refresh where state = 'swapped'") == [(1,)]
    assert swapped == (moment == "after")
    if not swapped:
        assert before.changes() == ""
    plain.ok(*RESUME)
    check_finished(plain, before)


def test_a_kill_in_the_rollback(plain: Pair) -> None:
    before = Before(plain)
    plain.apply()
    process = plain.start("rollback", "plan.yml", "--yes", before=KILL.format(moment="inside"))
    done = plain.end(process, killed=True)
    assert done.code == -9, done.output
    wait_until_gone(plain, plain.target)
    plain.ok("rollback", "plan.yml", "--yes")
    assert differing_tables(before.rows, contents(plain.target)) == []
    assert before.catalog_changes() == ""


@pytest.mark.parametrize("then", ["rollback", "abort"])
def test_a_kill_after_the_commit_of_the_rollback(new_db: NewDb, tmp_path: Path, then: str) -> None:
    """The foreign keys of the old tables are still to be validated: the next rollback does it, and so does an abort."""
    window = "uses: swap_tables, with: {rollback_window: 1h}"
    pair = shop(tmp_path, new_db, PLAN.replace("uses: swap_tables", window), orders=30)
    before = Before(pair)
    pair.apply()
    process = pair.start("rollback", "plan.yml", "--yes", before=KILL.format(moment="after"))
    assert pair.end(process, killed=True).code == -9
    wait_until_gone(pair, pair.target)
    assert pair.ask("select state from planrun.refresh") == [("undone",)]
    assert pair.ask("select count(*) > 0 from pg_constraint where not convalidated") == [(True,)]
    pair.ok(then, "plan.yml", "--yes")
    assert pair.ask("select conname from pg_constraint where not convalidated") == []
    assert before.catalog_changes() == ""
    if then == "rollback":
        assert "nothing to do" in pair.ok("rollback", "plan.yml", "--yes").output
    pair.close()


# ------------------------------------------------------------------ answers that never came


@pytest.mark.parametrize("fault", ["swallow_on", "cut_on"])
def test_a_lost_commit_is_looked_up(plain: Pair, proxy: FaultProxy, fault: str) -> None:
    before = Before(plain)
    plain.apply("--until", "prepare")
    setattr(proxy, fault, b"commit\0")
    done = plain.here(*RESUME, env={"PLANRUN_TARGET_URL": through(proxy, plain.target)})
    swapped = plain.ask("select count(*) from planrun.refresh where state = 'swapped'") == [(1,)]
    assert swapped == (fault == "swallow_on"), done.output
    if swapped:
        assert done.code == 0, done.output
    else:
        assert done.code == 1, done.output
        assert before.changes() == ""
        setattr(proxy, fault, None)
        plain.ok(*RESUME, env={"PLANRUN_TARGET_URL": through(proxy, plain.target)})
    check_finished(plain, before)


def test_a_connection_that_is_cut_in_the_load(plain: Pair, proxy: FaultProxy) -> None:
    before = Before(plain)
    proxy.cut_on = b"orders"
    done = plain.here("apply", "plan.yml", "--yes", env={"PLANRUN_TARGET_URL": through(proxy, plain.target)})
    assert done.code in (1, 4), done.output
    proxy.cut_on = None
    assert before.changes() == ""
    again = ("--resume",) if "--resume" in done.output else ()
    plain.ok("apply", "plan.yml", "--yes", *again, env={"PLANRUN_TARGET_URL": through(proxy, plain.target)})
    check_finished(plain, before)


# ------------------------------------------------------------------ others in the way


def test_a_reader_in_the_way_is_named_and_not_harmed(pair: Pair) -> None:
    pair.write(
        (pair.folder / "plan.yml").read_text().replace("uses: swap_tables", "uses: swap_tables, with: {deadline: 2s}")
    )
    before = Before(pair)
    pair.apply("--until", "prepare")
    with psycopg.connect(pair.target, application_name="slow report") as reader:
        reader.execute("select * from lines limit 1")
        done = pair.here(*RESUME)
        assert done.code == 1, done.output
        assert f"pid {reader.info.backend_pid}" in done.output and "slow report" in done.output, done.output
        assert "nothing was changed" in done.output
        assert reader.execute("select count(*) from lines").fetchone() == (30,)
        assert differing_tables(before.rows, contents(pair.target)) == []
    pair.ok(*RESUME)
    check_finished(pair, before)


def test_a_reader_that_goes_is_waited_for(plain: Pair) -> None:
    before = Before(plain)
    plain.apply("--until", "prepare")
    with psycopg.connect(plain.target) as reader:
        reader.execute("select * from lines limit 1")
        process = plain.start(*RESUME)
        wait_for(lambda: plain.ask(BLOCKED.format(reader.info.backend_pid)), 15)
    done = plain.end(process)
    assert done.code == 0, done.output
    check_finished(plain, before)


def test_readers_in_another_order_are_no_victims_of_a_deadlock(plain: Pair) -> None:
    """Each table is read in one transaction, the youngest first: the swap is who gives way."""
    before = Before(plain)
    plain.apply("--until", "prepare")
    tables = [name for (name,) in plain.ask("select relname from pg_class where relkind = 'r' and relnamespace ="
                                            " 'public'::regnamespace order by oid desc")]  # fmt: skip
    with psycopg.connect(plain.target, application_name="upside down") as reader:
        reader.execute(f"select count(*) from {tables[0]}".encode())
        process = plain.start(*RESUME)
        wait_for(lambda: plain.ask(BLOCKED.format(reader.info.backend_pid)), 15)
        for table in tables[1:]:
            reader.execute(f"select count(*) from {table}".encode())
    done = plain.end(process)
    assert done.code == 0, done.output
    check_finished(plain, before)


def test_a_cleanup_that_fails_is_a_warning_and_the_set_is_not_lost(plain: Pair) -> None:
    plain.apply()
    before = Before(plain)
    plain.fill("create view uses_it as select * from backup_orders", only="target")
    done = plain.apply()
    assert "uses_it" in done.output, done.output
    assert not_as_in_the_source(plain) == []
    assert plain.ask("select count(*) from uses_it") == [(30,)]
    assert before.catalog_changes("VIEW public.uses_it") == "" or "uses_it" in before.catalog_changes()


def test_what_the_role_may_not_do_is_said_before_anything_is_touched(plain: Pair, pg_server: Server) -> None:
    if pg_server.provider != "local":
        pytest.skip("the role has no password, so only a server of our own lets it in")
    plain.fill(
        "do $$ begin create role planrun_poor_clerk login; exception when duplicate_object or unique_violation"
        " then null; end $$",
        "grant select on all tables in schema public to planrun_poor_clerk",
        only="target",
    )
    before = Before(plain)
    env: dict[str, Any] = {
        "PLANRUN_TARGET_URL": conninfo.make_conninfo(plain.target, user="planrun_poor_clerk"),
        "DATABASE_URL": conninfo.make_conninfo(plain.target, user="planrun_poor_clerk"),
    }
    done = plain.here("apply", "plan.yml", "--yes", env=env)
    assert done.code in (1, 4), done.output
    assert "permission" in done.output or "privilege" in done.output or "owner" in done.output, done.output
    assert before.changes() == ""
