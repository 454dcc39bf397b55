"""One run at a time: who holds the lock is named, and a pool that breaks it is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg import conninfo

from runner.database.connections import Connections
from runner.database.run_lock import RunLock, application_name, holder
from runner.errors import LockedError, TargetError
from tests.faultproxy import FaultProxy, target_of
from tests.poolproxy import PoolProxy
from tests.servers import Server


def connections(db: str, run: str = "20260102T030405Z-abcd") -> Connections:
    return Connections({}, {"DATABASE_URL": db}, application=application_name(run))


@contextmanager
def hold_lock(db: str, area: str = "plan", **words: str) -> Iterator[RunLock]:
    with closing(RunLock(connections(db, **words), "", area)) as lock:
        yield lock


def test_the_second_run_is_refused_and_told_who_holds_the_lock(db: str) -> None:
    with hold_lock(db, run="20260102T030405Z-aaaa"), pytest.raises(LockedError) as caught:
        RunLock(connections(db), "", "plan")
    text = str(caught.value)
    assert caught.value.exit_code == 11
    assert "run 20260102T030405Z-aaaa" in text and f"pid {os.getpid()}" in text
    assert "host " in text and "since 20" in text


def test_another_area_or_database_is_free(db: str, new_db: object) -> None:
    assert callable(new_db)
    with hold_lock(db, "a"), hold_lock(db, "b"), hold_lock(new_db(), "a"):
        assert holder(connections(db), "", "a").startswith("run ")
    assert holder(connections(db), "", "a") == ""


def test_the_lock_goes_with_its_process(db: str) -> None:
    with hold_lock(db):
        pass
    with hold_lock(db):
        pass


def test_a_lost_lock_is_noticed(db: str, pg_server: Server) -> None:
    with hold_lock(db) as lock:
        with psycopg.connect(db, autocommit=True) as conn:
            conn.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name like 'planrun/%' and datname = current_database()"
            )
        with pytest.raises(TargetError, match="lock was lost"):
            lock.check()


def test_a_role_without_rights_still_learns_who_holds_it(db: str) -> None:
    name = f"reader_{os.getpid()}"
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(f"drop role if exists {name}".encode())
        conn.execute(f"create role {name} login".encode())
    try:
        with hold_lock(db, run="20260102T030405Z-aaaa"):
            weak = conninfo.make_conninfo(db, user=name)
            assert "run 20260102T030405Z-aaaa" in holder(connections(weak), "", "plan")
    finally:
        with psycopg.connect(db, autocommit=True) as conn:
            conn.execute(f"drop role {name}".encode())


def test_application_name_fits_63_bytes() -> None:
    assert len(application_name("20260102T030405Z-abcd" + "x" * 90).encode()) == 63


@pytest.mark.parametrize("round_robin", [True, False])
def test_transaction_pooling_is_detected_and_refused(db: str, round_robin: bool) -> None:
    with PoolProxy(db, round_robin=round_robin) as pool:
        through = Connections({}, {"DATABASE_URL": f"host=127.0.0.1 port={pool.port} user=postgres dbname=x"})
        with pytest.raises(TargetError, match="pooler in transaction mode") as caught:
            RunLock(through, "", "plan")
    assert "pool_mode = session" in caught.value.hint


def test_the_lock_is_free_when_close_returns(db: str, pg_server: Server) -> None:
    """The proxy keeps every packet back for a while: the server hears late that the connection was closed."""
    with FaultProxy(target_of(pg_server.words)) as proxy, psycopg.connect(db, autocommit=True) as other:
        lock = RunLock(connections(conninfo.make_conninfo(db, **proxy.words({}))), "", "plan")
        proxy.latency = 0.3
        lock.close()
        assert other.execute("select from pg_locks where locktype = 'advisory'"
                             " and database = (select oid from pg_database where datname = current_database())"
                             ).fetchall() == []  # fmt: skip


def test_a_server_that_hangs_does_not_keep_whoever_lets_the_lock_go(db: str, pg_server: Server) -> None:
    with FaultProxy(target_of(pg_server.words)) as proxy:
        lock = RunLock(connections(conninfo.make_conninfo(db, **proxy.words({}))), "", "plan")
        proxy.hang = True
        began = time.monotonic()
        lock.close()
        assert time.monotonic() - began < 10
