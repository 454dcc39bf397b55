"""Who held the lock is named, when it can be seen, and only then."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psycopg
import pytest

from runner.cli import main
from runner.database import blockers
from runner.database.blockers import Watch
from runner.database.connections import Connections, translate_errors
from runner.errors import TargetError


@pytest.fixture
def watch(db: str, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(blockers, "EVERY", 0.1)
    return Watch(connections(db))


def connections(db: str) -> Connections:
    return Connections({}, {"DATABASE_URL": db}, application="planrun/test")


def lock_error(watch: Watch, db: str, wait: str = "600ms") -> TargetError:
    opened = connections(db).open(lock_timeout=wait)
    with opened as conn, pytest.raises(TargetError) as caught, watch.over(""), translate_errors():
        conn.execute("select * from public.t")
    return caught.value


def test_the_holder_of_the_lock_is_named(watch: Watch, db: str) -> None:
    with psycopg.connect(db, application_name="nightly job") as other:
        other.execute("create table t ()")
        other.commit()
        other.execute("lock table t")
        error = lock_error(watch, db)
        pid = other.info.backend_pid
    assert f"; waited for ACCESS SHARE on public.t; blocked by: pid {pid} (user " in error.message
    assert "holds ACCESS EXCLUSIVE)" in error.message
    assert "application nightly job, idle in transaction, transaction since 20" in error.message
    assert f"pg_stat_activity where pid in ({pid})" in error.hint


def test_a_wait_too_short_to_be_seen_names_nobody(watch: Watch, db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockers, "EVERY", 60)
    with psycopg.connect(db) as other:
        other.execute("create table t ()")
        other.commit()
        other.execute("lock table t")
        error = lock_error(watch, db, "50ms")
    assert "blocked by" not in error.message and "pg_stat_activity" in error.hint


def test_other_errors_stay_as_they_are(watch: Watch, db: str) -> None:
    assert "does not exist" in lock_error(watch, db).message


def test_nobody_looks_after_the_end(watch: Watch, db: str) -> None:
    with watch.over(""), watch.over(""):
        pass
    time.sleep(0.3)
    with psycopg.connect(db) as conn:
        assert conn.execute("select 1 from pg_stat_activity where application_name = 'planrun/test'").fetchall() == []


def test_a_wait_is_told_once_while_it_lasts(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockers, "FIRST", 0.1)
    told_here = list[tuple[str, str]]()
    ends = list[tuple[str, float]]()
    watch = Watch(
        connections(db), 0.1, lambda name, what: told_here.append((name, what)),
        lambda name, seconds: ends.append((name, seconds)),
    )  # fmt: skip
    with psycopg.connect(db, application_name="nightly job") as other:
        other.execute("create table t ()")
        other.commit()
        other.execute("lock table t")
        lock_error(watch, db, "1500ms")
    (told_once,) = told_here
    assert told_once[1].startswith("waits for ACCESS SHARE on public.t; blocked by: pid ")
    ((_, seconds),) = ends
    assert 0.5 < seconds < 1.9, "from when it was seen first to its end"


def test_a_diff_that_waits_says_at_once_for_what(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.yml").write_text("backup: {path: ./b, prefix: t}\n")
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setattr(blockers, "FIRST", 0.2)
    with psycopg.connect(db, application_name="nightly job") as other:
        other.execute("create table t (id int); insert into t values (1)")
        other.commit()
        other.execute("lock table t")
        release = threading.Timer(1.5, other.rollback)
        release.start()
        assert main(["diff", str(tmp_path / "plan.yml")]) == 0
        release.join()
    assert "waits for ACCESS SHARE on public.t; blocked by: pid " in capsys.readouterr().err
