"""Who held the lock is named, when it can be seen, and only then."""

from __future__ import annotations

import time

import psycopg
import pytest

from runner import waiting
from runner.db import Connections, told
from runner.errors import TargetError
from runner.waiting import Watch


@pytest.fixture
def watch(db: str, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(waiting, "EVERY", 0.1)
    return Watch(connections(db))


def connections(db: str) -> Connections:
    return Connections({}, {"DATABASE_URL": db}, application="planrun/test")


def locked_out(watch: Watch, db: str, wait: str = "600ms") -> TargetError:
    opened = connections(db).open(lock_timeout=wait)
    with opened as conn, pytest.raises(TargetError) as caught, watch.over(""), told():
        conn.execute("select * from public.t")
    return caught.value


def test_the_holder_of_the_lock_is_named(watch: Watch, db: str) -> None:
    with psycopg.connect(db, application_name="nightly job") as other:
        other.execute("create table t ()")
        other.commit()
        other.execute("lock table t")
        error = locked_out(watch, db)
        pid = other.info.backend_pid
    assert f"; waited for ACCESS SHARE on public.t; in the way: pid {pid} (user " in error.message
    assert "holds ACCESS EXCLUSIVE)" in error.message
    assert "application nightly job, idle in transaction, transaction since 20" in error.message
    assert f"pg_stat_activity where pid in ({pid})" in error.hint


def test_a_wait_too_short_to_be_seen_names_nobody(watch: Watch, db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "EVERY", 60)
    with psycopg.connect(db) as other:
        other.execute("create table t ()")
        other.commit()
        other.execute("lock table t")
        error = locked_out(watch, db, "50ms")
    assert "in the way" not in error.message and "pg_stat_activity" in error.hint


def test_other_errors_stay_as_they_are(watch: Watch, db: str) -> None:
    assert "does not exist" in locked_out(watch, db).message


def test_nobody_looks_after_the_end(watch: Watch, db: str) -> None:
    with watch.over(""), watch.over(""):
        pass
    time.sleep(0.3)
    with psycopg.connect(db) as conn:
        assert conn.execute("select 1 from pg_stat_activity where application_name = 'planrun/test'").fetchall() == []
