"""SQL under locks: all of it or nothing, never waiting without a limit, and who is in the way is named."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError
from runner.events import ActionDone, Retrying
from runner.journal.history import fold
from runner.model import Exchange
from tests import servers
from tests.unit.test_executor import House

SETUP = "create table public.a (id int primary key, v text); insert into public.a values (1, 'old')"


@pytest.fixture
def house(db: str, tmp_path: Path) -> Iterator[House]:
    made = House(db, tmp_path)
    made.admin(SETUP)
    yield made
    made.hands.close()


def swap(**given: Any) -> Exchange:
    usual = {
        "connection": "",
        "what": "swap a",
        "locks": "lock table public.a in access exclusive mode",
        "text": "update public.a set v = 'new'",
        "lock_timeout": 0.3,
        "deadline": 0.0,
    }
    return Exchange(**{**usual, **given})


@contextmanager
def hold(db: str, text: str = "select from public.a") -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(db, application_name="nightly job") as conn:
        conn.execute(text.encode())
        yield conn
        conn.rollback()


def value(house: House) -> str:
    return str(house.admin("select v from public.a")[0][0])


def test_it_is_one_transaction_and_says_how_long_it_locked(house: House) -> None:
    found = house.do(
        swap(
            before="create table public.b (x xid8 default pg_current_xact_id()); insert into public.b default values",
            text="insert into public.b default values; update public.a set v = 'new'",
        )
    )
    assert value(house) == "new"
    assert house.admin("select count(distinct x) from public.b") == [(1,)]
    assert found["attempts"] == 1 and 0 < found["locked_ms"] < 10_000


def test_a_holder_is_named_and_nothing_changes(house: House) -> None:
    with hold(house.db) as other, pytest.raises(TargetError, match="nightly job") as caught:
        pid = other.info.backend_pid
        house.do(swap(before="create table public.b ()", lock_timeout=1.2))
    assert f"pid {pid}" in caught.value.message
    assert caught.value.category == "lock" and value(house) == "old"
    assert house.admin("select to_regclass('public.b')") == [(None,)]


def test_it_tries_again_until_the_holder_is_gone(house: House) -> None:
    with hold(house.db) as other:
        release = threading.Timer(1.0, other.rollback)
        release.start()
        found = house.do(swap(deadline=30.0))
        release.join()
    assert found["attempts"] > 1 and value(house) == "new"
    assert any(isinstance(event, Retrying) and event.attempt == 1 for event in house.told)


def test_others_do_not_wait_longer_than_one_attempt(house: House) -> None:
    """A lock that is waited for makes every later reader wait: between two attempts they get through."""
    waits: list[float] = []
    stop = threading.Event()

    def read() -> None:
        with psycopg.connect(house.db, autocommit=True) as conn:
            while not stop.is_set():
                began = time.monotonic()
                conn.execute("select * from public.a")
                waits.append(time.monotonic() - began)
                time.sleep(0.02)

    reader = threading.Thread(target=read)
    with hold(house.db):
        reader.start()
        with pytest.raises(TargetError, match="tried"):
            house.do(swap(deadline=2.0))
        stop.set()
        reader.join()
    assert 0.1 < max(waits) < 2.0
    assert len([one for one in waits if one < 0.1]) > 5


def test_a_deadlock_is_tried_again(house: House) -> None:
    """The other holds b and wants a, we hold a and want b: PostgreSQL ends one of us, after deadlock_timeout."""
    house.admin("create table public.b ()")
    locks = "lock table public.a in access exclusive mode; lock table public.b in access exclusive mode"
    with psycopg.connect(house.db) as other:
        other.execute("lock table public.b")

        def want() -> None:
            time.sleep(0.5)
            try:
                other.execute("lock table public.a")
            finally:
                other.rollback()

        thread = threading.Thread(target=want)
        thread.start()
        found = house.do(swap(locks=locks, lock_timeout=0.0, deadline=30.0))
        thread.join()
    assert found["attempts"] >= 1 and value(house) == "new"


def test_what_changed_meanwhile_stops_it(house: House) -> None:
    check = "select format('%s has a new column', attname) from pg_catalog.pg_attribute where attname = 'w'"
    house.admin("alter table public.a add w int")
    with pytest.raises(TargetError, match="swap a: check failed: w has a new column") as caught:
        house.do(swap(check=check, hint="look again", deadline=60.0))
    assert caught.value.hint == "look again" and value(house) == "old"


def test_the_check_runs_under_the_locks(house: House) -> None:
    """What `before` made is there when it runs for the second time."""
    check = (
        "select 'not locked' where to_regclass('public.b') is not null and not exists (select from pg_catalog.pg_locks "
        "where pid = pg_catalog.pg_backend_pid() and relation = 'public.a'::regclass and mode = 'AccessExclusiveLock')"
    )
    assert house.do(swap(check=check, before="create table public.b ()"))["attempts"] == 1
    with pytest.raises(TargetError, match="check failed: c is there"):
        house.do(
            swap(
                check="select 'c is there' where to_regclass('public.c') is not null", before="create table public.c ()"
            )
        )


def test_what_the_check_finds_is_found_before_any_lock_is_requested(house: House) -> None:
    with hold(house.db), pytest.raises(TargetError, match="check failed: it changed"):
        house.do(swap(check="select 'it changed'", lock_timeout=30.0))
    assert not [event for event in house.told if isinstance(event, Retrying)]


def test_the_check_is_prepared_once_for_all_attempts(house: House) -> None:
    with hold(house.db) as other:
        release = threading.Timer(1.0, other.rollback)
        release.start()
        found = house.do(swap(check="select 'never' where false", deadline=30.0))
        release.join()
    assert found["attempts"] > 1 and value(house) == "new"


def test_what_goes_before_the_locks_waits_no_longer_than_they_do(house: House) -> None:
    """It is another attempt, not ten seconds of waiting."""
    house.admin("create table public.b ()")
    with hold(house.db, "lock table public.b") as other:
        release = threading.Timer(1.0, other.rollback)
        release.start()
        found = house.do(swap(before="alter table public.b rename to c", deadline=30.0))
        release.join()
    assert found["attempts"] > 1 and value(house) == "new"


def test_most_of_the_catching_up_is_done_before_the_locks(house: House) -> None:
    """Rounds until few are left; each is a REPEATABLE READ transaction of its own, the last one ours."""
    house.admin(
        "create table public.todo (n int); insert into public.todo select generate_series(1, 5000);"
        "create table public.rounds (took bigint, isolation text, x xid8 default pg_current_xact_id())"
    )
    round_ = (
        "with gone as (delete from public.todo where n in (select n from public.todo limit 3000) returning 1) "
        "insert into public.rounds select count(*), current_setting('transaction_isolation') from gone"
    )
    house.do(swap(catch_up=(round_,), backlog="select count(*) from public.todo"))
    rounds = house.admin("select took, isolation from public.rounds order by x")
    assert rounds == [(3000, "repeatable read"), (2000, "repeatable read"), (0, "read committed")]


def test_a_failing_text_changes_nothing(house: House) -> None:
    with pytest.raises(TargetError, match=r"division by zero \[22012\]"):
        house.do(swap(text="update public.a set v = 'new'; select 1/0", deadline=60.0))
    assert value(house) == "old"


def test_ctrl_c_while_it_waits(house: House) -> None:
    cancel = Cancel()
    with hold(house.db):
        threading.Timer(0.4, cancel.cancel, [Interrupted("interrupted", signal=2)]).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            house.do(swap(lock_timeout=20.0, deadline=60.0), cancel)
    assert time.monotonic() - began < 5 and value(house) == "old"


def test_its_journal_row_is_part_of_it(db: str, tmp_path: Path) -> None:
    house = House(db, tmp_path, in_database=True)
    house.admin(SETUP)
    house.database.prepare()
    found = house.do(swap())
    assert found["stamped"]
    written = [record for record in house.database.records() if record["event"] == "action_done"]
    assert len(written) == 1 and written[0]["result"]["attempts"] == 1
    assert fold(house.database.records()) == []  # a row of no run that began
    with pytest.raises(TargetError):
        house.do(swap(text="select 1/0"))
    assert len([r for r in house.database.records() if r["event"] == "action_done"]) == 1
    house.hands.close()
    house.database.close()
    assert not [event for event in house.told if isinstance(event, ActionDone)]


def test_by_default_it_waits_for_less_than_others_need_to_find_a_deadlock(house: House) -> None:
    with hold(house.db), pytest.raises(TargetError):
        began = time.monotonic()
        house.do(swap(lock_timeout=0.0))
    assert 0.4 < time.monotonic() - began < 5


def test_an_autovacuum_in_the_way_gives_way(tmp_path: Path) -> None:
    """The server lets it give up when we look for a deadlock: a wait that ends before never gets the lock."""
    slow = {"autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "100ms", "autovacuum_vacuum_cost_limit": "1"}
    if not servers.servers_here():
        servers.no_server("no PostgreSQL server programs here to start")
    with servers.local(settings={**slow, "autovacuum": "on", "autovacuum_vacuum_threshold": "1"}) as server:
        house = House(server.create("busy"), tmp_path)
        house.admin(SETUP)
        house.admin("insert into public.a select n, repeat('x', 500) from generate_series(2, 20000) as n")
        house.admin("delete from public.a where id > 1")
        _until(house, "select count(*) = 1 from pg_stat_progress_vacuum where relid = 'public.a'::regclass")
        found = house.do(swap(lock_timeout=0.0, deadline=20.0))
        house.hands.close()
    assert found["attempts"] == 1


def _until(house: House, question: str) -> None:
    end = time.monotonic() + 30
    while house.admin(question) != [(True,)]:
        assert time.monotonic() < end, question
        time.sleep(0.1)


def test_all_locks_together_have_one_limit(house: House) -> None:
    """lock_timeout counts anew for each table: with a hundred it would be no limit."""
    house.admin("create table public.b ()")
    locks = "lock table public.a, public.b in access exclusive mode"
    with hold(house.db) as first, hold(house.db, "select from public.b"):
        threading.Timer(0.6, first.rollback).start()
        began = time.monotonic()
        with pytest.raises(TargetError, match="nightly job") as caught:
            house.do(swap(locks=locks, lock_timeout=1.0))
    assert caught.value.category == "lock" and time.monotonic() - began < 1.5


def test_others_are_not_the_victims_of_our_deadlock(house: House) -> None:
    """We hold a and want b, the other holds b and wants a: it is us who give way, at once."""
    house.admin("create table public.b ()")
    locks = "lock table public.a in access exclusive mode; lock table public.b in access exclusive mode"
    for _ in range(3):
        with psycopg.connect(house.db) as other:
            other.execute("lock table public.b")
            thread = threading.Timer(0.2, lambda other=other: other.execute("select from public.a"))
            thread.start()
            with pytest.raises(TargetError):
                house.do(swap(locks=locks, lock_timeout=0.0))
            thread.join()
            assert other.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_after_a_deadlock_it_asks_first_for_what_it_waited_for(house: House) -> None:
    """Six writers that take b before a: with the order a, b every attempt was a deadlock, until the deadline."""
    house.admin("create table public.b (id int primary key, v text)")
    house.admin("insert into public.a select n, 'old' from generate_series(2, 6) as n")
    house.admin("insert into public.b select n, 'old' from generate_series(1, 6) as n")
    done, ended = threading.Event(), list[str]()

    def write(row: int) -> None:
        with psycopg.connect(house.db, application_name="writer") as conn:
            while not done.is_set():
                try:
                    conn.execute("update public.b set v = 'x' where id = %s", [row])
                    time.sleep(0.005)
                    conn.execute("update public.a set id = id where id = %s", [row])
                    conn.commit()
                except psycopg.Error as exc:
                    ended.append(str(exc))
                    conn.rollback()

    writers = [threading.Thread(target=write, args=[row]) for row in range(1, 7)]
    for writer in writers:
        writer.start()
    try:
        locks = "lock table public.a, public.b in access exclusive mode"
        found = house.do(swap(locks=locks, lock_timeout=0.0, deadline=30.0))
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert found["attempts"] < 10 and value(house) == "new" and ended == []
    told = [event.message for event in house.told if isinstance(event, Retrying)]
    if told:
        assert re.search(
            r"a deadlock with pid \d+ \(\w+, writer, .*\), which holds public\.b and waits for a lock", told[0]
        )


def test_what_takes_long_under_the_locks_is_undone(house: House) -> None:
    """Two statements, as statement_timeout would count anew for each."""
    began = time.monotonic()
    slow = "update public.a set v = 'new'; select pg_sleep(0.4); select pg_sleep(60)"
    with pytest.raises(TargetError, match=r"not done after 0\.5 s under the locks; nothing was changed") as caught:
        house.do(swap(text=slow, hold_timeout=0.5, deadline=60.0))
    assert time.monotonic() - began < 20 and caught.value.category == "timeout"
    assert "hold_timeout" in caught.value.hint and value(house) == "old"


def test_the_server_has_limits_of_its_own_under_the_locks(house: House) -> None:
    """It keeps them when we are stopped or gone."""
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "client_connection_check_interval")
    house.admin("create table public.seen (name text, value text)")
    reading = f"insert into public.seen select name, setting from pg_settings where name in {names}"
    house.do(swap(text=reading, hold_timeout=20.0))
    seen = dict(house.admin("select name, value from public.seen"))
    assert seen["statement_timeout"] == "25000" and seen["idle_in_transaction_session_timeout"] == "10000"
    looks = "linux" in str(house.admin("select version()")[0][0])  # not every platform of a server can
    assert not looks or seen["client_connection_check_interval"] == "5000"
