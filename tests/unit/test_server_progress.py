"""What PostgreSQL says of planrun's own commands, on the connection that looks for blockers, and how it is worded."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runner.database import blockers, server_progress
from runner.database.blockers import Watch
from runner.database.connections import Connections
from tests.servers import Server


def row(**more: Any) -> dict[str, Any]:
    given = {"command": "CREATE INDEX", "phase": "building index: scanning table", "unit": "blocks", "done": 45,
             "total": 100, "schema": "public", "name": "Orders", "share": 0.225, "bytes": 819_200}  # fmt: skip
    return given | more


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, 'CREATE INDEX on public."Orders": building index: scanning table, 45 %'),
        ({"done": 100}, 'CREATE INDEX on public."Orders": building index: scanning table, 99 %'),
        ({"total": 0, "done": 0}, 'CREATE INDEX on public."Orders": building index: scanning table'),
        ({"name": None, "schema": None}, "CREATE INDEX: building index: scanning table, 45 %"),
        ({"command": "COPY FROM", "phase": "", "unit": "bytes", "total": 0, "done": 3 << 20},
         'COPY FROM on public."Orders", 3,072 kB'),
    ],
)  # fmt: skip
def test_a_command_is_one_line(more: dict[str, Any], line: str) -> None:
    assert server_progress.lines([row(**more)]) == (line,)


def test_the_size_of_a_table_is_remembered_while_its_index_is_sorted() -> None:
    inflight = server_progress.Inflight()
    assert inflight.count([row()]) == {"indexes": int(819_200 * 0.225)}
    assert inflight.count([row(unit="rows", bytes=0, share=0.75)]) == {"indexes": int(819_200 * 0.75)}
    assert inflight.count([row(command="ANALYZE", bytes=0, share=2.0)]) == {"keys and statistics": 819_200}
    assert inflight.count([row(command="COPY FROM"), row(command="VACUUM")]) == {}


# ------------------------------------------------------------------ on real servers


@contextlib.contextmanager
def building(dsn: str, url: str) -> Iterator[None]:
    """Build an index that cannot go on, because an older transaction has written to the table."""
    with psycopg.connect(dsn) as older, psycopg.connect(url, autocommit=True, application_name="planrun") as builder:
        older.execute("insert into t values (0)")

        def build() -> None:
            with contextlib.suppress(psycopg.Error):
                builder.execute("create index concurrently on t (n)")

        thread = threading.Thread(target=build)
        thread.start()
        try:
            yield
        finally:
            older.commit()
            thread.join()


def test_a_role_without_rights_sees_its_own_commands_on_every_version(each_version: Server) -> None:
    dsn = each_version.create("app")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table t as select n from generate_series(1, 1000) as n; create role planner login")
        conn.execute("alter table t owner to planner; grant create on schema public to planner")
    seen = queue.Queue[tuple[str, str, Any]]()
    url = f"{dsn} user=planner"
    watch = Watch(Connections({}, {"DATABASE_URL": url}), every=0.1, see=lambda *one: seen.put(one))
    with building(dsn, url), watch.over(""):
        while not (found := seen.get(timeout=20))[2]:
            pass
        assert found[1].startswith("waits for a lock; blocked by: pid ")
        assert server_progress.lines(found[2]) == (
            "CREATE INDEX CONCURRENTLY on public.t: waiting for writers before build",
        )


def test_a_question_that_fails_costs_no_blocker(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blockers, "_PROGRESS", "select 1/0")
    seen = queue.Queue[tuple[str, str, Any]]()
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("create table t (n int)")
    watch = Watch(Connections({}, {"DATABASE_URL": db}), every=0.05, see=lambda *one: seen.put(one))
    with building(db, db), watch.over(""):
        while not (found := seen.get(timeout=20))[1]:
            pass
        assert found[2] == []
