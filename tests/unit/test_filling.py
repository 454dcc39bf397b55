"""A session in a scratch database: several connections restore it, and no order among them is needed."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from runner.backup import filling, sessions, verifying
from runner.backup.loading import Loading
from runner.cancel import Cancel
from runner.table_name import TableName
from tests.backups import Backups
from tests.servers import Server

CHAIN = """
create table z (n int primary key); insert into z select generate_series(1, 50);
create function known(v int) returns bool language sql as 'select exists (select from public.z where n = v)';
create table a (n int references z, check (known(n))); insert into a values (1), (2);
create table b (n int primary key references z); insert into b values (3);
"""


@pytest.fixture
def words(pg_server: Server) -> dict[str, str]:
    return {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(pg_server.conninfo()).items()}


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    made = Backups(db, tmp_path / "backups")
    made.sql(CHAIN)
    return made


def prove(session: Path, words: dict[str, str], cancel: Cancel | None = None) -> verifying.Verified:
    return verifying.verify(session, 3, server=words, env={"PATH": os.environ["PATH"]}, cancel=cancel)


@pytest.mark.parametrize("form", ["insert", "custom"])
def test_a_dump_that_needs_another_one_is_restored_after_it(form: str, backups: Backups, words: dict[str, str]) -> None:
    """The check of table a reads table z, which the manifest has last and no foreign key of the dump needs."""
    found = prove(backups.make(tables=["a", "b", "z"], format=form).path, words)
    assert (found.level, found.left) == (3, ())
    assert [(table.name, table.rows) for table in found.tables] == [("a", 2), ("b", 1), ("z", 50)]


def test_several_connections_restore_and_compare(
    backups: Backups, words: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most one psql for each worker and phase, and one transaction for each dump."""
    begun, real = list[Loading](), Loading._begin

    def begin(self: Loading) -> None:
        begun.append(self)
        real(self)

    monkeypatch.setattr(Loading, "_begin", begin)
    backups.sql("create table c as select 1 as n; create table d as select 1 as n; create table e as select 1 as n")
    names = ["b", "c", "d", "e", "z"]
    found = prove(backups.make(tables=names).path, words)
    assert [table.name for table in found.tables] == names and found.level == 3
    assert 3 <= len(set(begun)) <= 2 + 2 * filling.JOBS
    assert len(begun) == len(set(begun)) + len(names) + 2, "the needs, each dump and the keys are committed"


def test_a_worker_that_finds_no_connection_free_leaves_its_dumps_to_the_others(
    backups: Backups, words: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups.make(tables=["a", "b", "z"])
    real, calls = Loading.__enter__, list[int]()

    def enter(self: Loading) -> Loading:
        calls.append(1)
        if len(calls) == 2:
            self._words = {**self._words, "user": "nobody_of_that_name"}
        return real(self)

    monkeypatch.setattr(Loading, "__enter__", enter)
    assert prove(made.path, words).level == 3 and len(calls) > 2


def test_a_foreign_key_to_a_table_that_is_not_there_is_named() -> None:
    key = b'ALTER TABLE ONLY public.a ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES public."B"(id);\n'
    assert filling.outside(key, {TableName("public", "a")}) == 'public."B"'
    assert filling.outside(key, {TableName("public", "B")}) == ""


def test_the_result_has_the_order_of_the_manifest(backups: Backups, words: dict[str, str]) -> None:
    made = backups.make(tables=["z", "b", "a"])
    order = [table.full_name for table in sessions.read(made.path).tables]
    assert [table.full_name for table in prove(made.path, words).tables] == order
