"""What doctor finds on this machine and in a database, each finding with what to type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from runner import doctor
from runner.api import load_plan
from runner.doctor import Finding, examine
from runner.errors import TargetError


def about(found: list[Finding], words: str) -> list[Finding]:
    return [one for one in found if words in f"{one.about}: {one.message}"]


def test_a_machine_and_a_database_that_are_well(db: str, tmp_path: Path) -> None:
    found = examine(None, {"DATABASE_URL": db, "PLANRUN_STATE_DIR": str(tmp_path)})
    assert not [one for one in found if one.level == "fail"]
    assert about(found, "planrun: ") and about(found, "programs") and about(found, str(tmp_path))
    assert about(found, "PostgreSQL") and about(found, "pg_dump") and about(found, "pooling")


def test_no_server_is_one_failure_with_exit_code_4_and_the_rest_is_told(tmp_path: Path) -> None:
    env = {"DATABASE_URL": "postgresql://u:s3cret@127.0.0.1:1/x", "PLANRUN_STATE_DIR": str(tmp_path)}
    found = examine(None, env)
    (bad,) = [one for one in found if one.level == "fail"]
    assert bad.exit_code == 4 and "connect" in bad.message and bad.hint and "doctor" not in bad.hint
    assert "s3cret" not in repr(found) and about(found, "planrun: ")


def test_what_is_in_the_way_in_a_database_is_told_with_the_way_out(db: str, tmp_path: Path) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("do $$ begin create role planrun_reader; exception when duplicate_object then null; end $$")
        conn.execute("create table secret (n int)")
        url = psycopg.conninfo.make_conninfo(db, options="-c role=planrun_reader")
        found = examine(None, {"DATABASE_URL": url, "PLANRUN_STATE_DIR": str(tmp_path)})
    (unreadable,) = about(found, "cannot be read")
    assert unreadable.level == "warn" and "planrun_reader" in unreadable.hint and unreadable.exit_code == 0
    (journal,) = about(found, "schema planrun")
    assert "grant create" in journal.hint


def test_every_connection_and_folder_of_a_plan_is_looked_at(db: str, tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(
        "name: p\nconnections: {source: {host: 127.0.0.1, port: 1}, target: {}}\n"
        "backup: {path: ./made/later}\n"
        "steps:\n  - {id: save, uses: backup}\n"
        "  - {id: more, uses: pg_dump, with: {to: ./other, tables: [a], connection: source}}\n"
    )
    env = {"PLANRUN_TARGET_URL": db, "PLANRUN_STATE_DIR": str(tmp_path)}
    found = examine(load_plan(tmp_path / "p.yml", env=env), env)
    assert {one.level for one in about(found, "connection source")} == {"fail"}
    assert about(found, "connection target") and not [one for one in about(found, "target") if one.level == "fail"]
    for folder in ("made/later", "other"):
        (disk,) = about(found, str(tmp_path / folder))
        assert disk.about == "disk" and "free" in disk.message


@pytest.mark.parametrize(("free", "level"), [(1 << 40, "ok"), (1 << 20, "warn")])
def test_little_room_is_a_warning(free: int, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.files.free_bytes", lambda path: free)
    (found,) = doctor._disk(tmp_path / "not" / "there")
    assert found.level == level and bool(found.hint) is (level == "warn")


def test_a_disk_that_cannot_be_asked_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> int:
        raise TargetError("cannot read", hint="h")

    look: Callable[..., int] = fail
    monkeypatch.setattr("runner.files.free_bytes", look)
    (found,) = doctor._disk(tmp_path)
    assert (found.level, found.hint, found.exit_code) == ("fail", "h", 1)


def test_tables_of_the_plan_that_cannot_be_read_are_a_failure_with_one_grant_a_line(db: str, tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text(
        "name: p\nbackup: {path: ./b, prefix: kept_}\nsteps:\n  - {id: save, uses: backup}\n"
    )
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("do $$ begin create role planrun_reader; exception when duplicate_object then null; end $$")
        conn.execute("create table kept_a (n int); create table kept_b (id serial); create table other (n int)")
        conn.execute("grant select on kept_b to planrun_reader")
        url = psycopg.conninfo.make_conninfo(db, options="-c role=planrun_reader")
        env = {"DATABASE_URL": url, "PLANRUN_STATE_DIR": str(tmp_path)}
        (bad,) = about(examine(load_plan(tmp_path / "p.yml", env=env), env), "the plan's tables")
        assert (bad.level, bad.exit_code) == ("fail", 1)
        assert "public.kept_a: no select; public.kept_b: no select on its sequence" in bad.message
        grants = bad.hint.splitlines()
        assert grants == [
            "grant select on public.kept_a to planrun_reader",
            "grant select on sequence public.kept_b_id_seq to planrun_reader",
        ]
        for grant in grants:
            conn.execute(grant.encode())
        (good,) = about(examine(load_plan(tmp_path / "p.yml", env=env), env), "of the plan can be read")
        assert good.level == "ok" and "2 tables" in good.message
