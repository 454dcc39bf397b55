"""tests/poolproxy.py behaves to its clients as a transaction pooler does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.poolproxy import PoolProxy


@pytest.fixture
def pool(db: str) -> Iterator[PoolProxy]:
    with PoolProxy(db) as running:
        yield running


def through(pool: PoolProxy, db: str) -> str:
    return make_conninfo(**pool.words({name: str(value) for name, value in conninfo_to_dict(db).items()}))


def connect(pool: PoolProxy, db: str, **words: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(through(pool, db), autocommit=True, **words)


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]


def test_each_transaction_goes_to_another_backend(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection:
        pids = [one(connection, "select pg_backend_pid()") for _ in range(4)]
        assert pids[0] != pids[1]
        assert pids == [pids[0], pids[1]] * 2 == pool.backend_pids
        with connection.transaction():
            inside = {one(connection, "select pg_backend_pid()") for _ in range(3)}
        assert len(inside) == 1


def test_the_backend_key_is_made_up(pool: PoolProxy, db: str) -> None:
    """This is what gives a pooler away even when the same backend comes back each time."""
    with PoolProxy(db, round_robin=False) as steady, connect(steady, db) as connection:
        assert len({one(connection, "select pg_backend_pid()") for _ in range(4)}) == 1
        assert connection.info.backend_pid != one(connection, "select pg_backend_pid()")


def test_server_settings_are_reported(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection, psycopg.connect(db) as straight:
        assert connection.info.server_version == straight.info.server_version
        assert connection.info.encoding == "utf-8"


def test_session_locks_break(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection:
        assert one(connection, "select pg_try_advisory_lock(42)")
        assert not one(connection, "select pg_try_advisory_lock(42)"), "another backend already"


def test_both_protocols_and_pipelines(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection:
        assert connection.execute("select %s::int + 1", [1], prepare=False).fetchone() == (2,)
        assert [r.fetchall() for r in connection.execute("select 1; select 2").results()] == [[(1,)], [(2,)]]
        with connection.pipeline():
            first = connection.execute("select 1", prepare=False)
            second = connection.execute("select 2", prepare=False)
        assert (first.fetchone(), second.fetchone()) == ((1,), (2,))


def test_copy_both_ways(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection:
        connection.execute("create table t (a int)")
        with connection.cursor() as cursor:
            with cursor.copy("copy t from stdin") as copy:
                for number in range(1000):
                    copy.write_row([number])
            with cursor.copy("copy t from stdin where a > %s", [5]) as copy:
                copy.write_row([6])
            with cursor.copy("copy t to stdout") as copy:
                assert len(list(copy.rows())) == 1001
        assert one(connection, "select count(*) from t") == 1001


def test_errors_and_failed_transactions(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1/0")
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("select 1/0")
        assert one(connection, "select 1") == 1


def test_clients_wait_for_a_free_backend(db: str) -> None:
    with PoolProxy(db, size=1) as pool, connect(pool, db) as busy, connect(pool, db) as waiting:
        with busy.transaction():
            busy.execute("select 1")
            got: list[int] = []
            thread = threading.Thread(target=lambda: got.append(one(waiting, "select 7")))
            thread.start()
            thread.join(0.2)
            assert got == []
        thread.join(10)
        assert got == [7]


def test_a_cancel_reaches_the_right_backend(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection:
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(30)")
        assert time.monotonic() - began < 10
        timer.join()


def test_a_client_that_goes_in_a_transaction_takes_its_backend_with_it(db: str) -> None:
    with PoolProxy(db, size=1) as pool:
        connection = connect(pool, db)
        connection.execute("begin")
        pid = one(connection, "select pg_backend_pid()")
        connection.close()
        with connect(pool, db) as other:
            assert one(other, "select pg_backend_pid()") != pid


def test_a_lost_backend_ends_its_client(pool: PoolProxy, db: str) -> None:
    with connect(pool, db) as connection, psycopg.connect(db, autocommit=True) as killer:
        connection.execute("begin")
        pid = one(connection, "select pg_backend_pid()")
        killer.execute("select pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
