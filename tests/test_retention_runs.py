"""A run removes the sessions that its diff named, whatever earlier runs left and however many databases it saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.cli import main
from tests.commandline import House, connect_to

BACKUP = """
name: nightly
steps:
  - {id: save, uses: pg_dump, with: {to: backups, tables: [t]}}
  - {id: tidy, when: save.ok, uses: retention, with: {path: backups, keep_last: 1}}
"""
TWO = """
name: both
connections: {one: {}, other: {}}
steps:
  - {id: first, uses: pg_dump, with: {to: backups, tables: [t], connection: one}}
  - {id: second, uses: pg_dump, with: {to: backups, tables: [t], connection: other}}
  - {id: tidy, when: second.ok, uses: retention, with: {path: backups, keep_last: 1}}
"""
LATER = """
name: later
steps:
  - {id: make, uses: sql, with: {text: create table t as select 1 as n}}
  - {id: save, uses: pg_dump, with: {to: backups, tables: [t]}}
  - {id: tidy, when: save.ok, uses: retention, with: {path: backups, keep_last: 1}}
"""
PROVED = """
name: proved
steps:
  - {id: save, uses: pg_dump, with: {to: backups, tables: [t]}}
  - {id: prove, uses: verify_backup, with: {session: "${steps.save.session}", level: 1}}
  - {id: tidy, when: prove.ok, uses: retention, with: {path: backups, keep_last: 1, min_verified: 1}}
"""
KILL = "import os; from runner.backup import dumping; dumping.Snapshot = lambda *args: os.kill(os.getpid(), 9)"


@pytest.fixture
def house(tmp_path: Path, db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    made = House(tmp_path, db, BACKUP)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


def fill(db: str) -> None:
    with connect_to(db) as conn:
        conn.execute("create table t as select 1 as n")


def apply(house: House, *args: str) -> int:
    return main(["apply", str(house.folder / "plan.yml"), "--yes", *args])


def test_a_resume_after_a_kill_removes_what_its_diff_said(house: House) -> None:
    fill(house.db)
    assert apply(house) == 0
    assert house.run("apply", "plan.yml", "--yes", before=KILL).code == -9
    assert sorted(house.sessions().values()) == ["complete", "partial"]
    assert apply(house, "--resume") == 0
    assert list(house.sessions().values()) == ["complete"]


def test_two_databases_in_one_folder_are_counted_separately(
    house: House, new_db: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_db()
    fill(house.db)
    fill(other)
    monkeypatch.setenv("PLANRUN_OTHER_URL", other)
    house.write(TWO)
    assert [apply(house), apply(house)] == [0, 0]
    assert list(house.sessions().values()) == ["complete"] * 2


def test_a_backup_of_a_table_that_the_run_makes_counts_as_a_later_session(house: House) -> None:
    house.write(LATER)
    assert apply(house) == 0
    with connect_to(house.db) as conn:
        conn.execute("drop table t")
    assert apply(house) == 0
    assert list(house.sessions().values()) == ["complete"]


def test_a_session_counts_at_the_level_at_which_the_rest_of_a_run_proves_it(house: House) -> None:
    fill(house.db)
    house.write(PROVED)
    assert [apply(house), apply(house, "--until", "save"), apply(house, "--resume")] == [0, 0, 0]
    assert list(house.sessions().values()) == ["complete"]
