"""A backup set goes whole or not at all, and nothing else goes with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.madesets import Sets

PLAN = """
name: prod
connections: {target: {}}
steps:
  - {id: cleanup, uses: drop_backup_set, with: {deadline: 3s}}
"""
SET = {"backup_Area": "Area", "backup_town": "town", "backup_seen": "seen", "backup_seen_too": "seen_too"}
OTHERS = ("backup_x", "backups", '"backupXfoo"', "users", '"Area"')


@pytest.fixture
def sets(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sets]:
    """A set of two tables that refer to each other, a view and a matview on it; and tables of like names."""
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    sets = Sets(db, tmp_path)
    sets.write(PLAN)
    sets.sql("""
        create table users (id int primary key);
        create table "backup_Area" (id serial primary key, town int, by int references users, x text unique);
        create table backup_town (id int primary key, area int references "backup_Area");
        alter table "backup_Area" add foreign key (town) references backup_town;
        create view backup_seen as select a.id from "backup_Area" as a join backup_town as t on t.id = a.town;
        create materialized view backup_seen_too as select * from backup_seen;
        create table "Area" (id int primary key);
        create table backup_x (id int);
        create table backups (id int);
        create table "backupXfoo" (id int);
        insert into backup_town select generate_series(1, 10); analyze backup_town;
    """)
    sets.put_aside("run1", SET)
    yield sets
    sets.close()


def test_the_whole_set_goes_and_nothing_else(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("diff", "plan", "-v") == 0
    shown = capsys.readouterr().out
    assert "backup set of schema public: 2 tables, about 10 rows" in shown and "by run run1 of plan prod" in shown
    assert "kept unless the guard of this step is true" in shown
    assert 'lock table "public"."users", "public"."backup_Area", "public"."backup_town"' in shown
    assert "cascade" not in shown.lower()
    assert sets.planrun("apply", "plan", "--yes") == 0, capsys.readouterr().err
    assert sets.there('"backup_Area"', "backup_town", "backup_seen", "backup_seen_too") == []
    assert sets.there(*OTHERS) == list(OTHERS)
    assert sets.refresh("run1") is None
    capsys.readouterr()
    assert sets.planrun("diff", "plan", "--detailed-exitcode") == 0
    assert "no backup set of this plan: nothing to drop" in capsys.readouterr().out


def test_a_view_replaced_so_that_an_older_one_reads_a_newer_one(sets: Sets) -> None:
    sets.sql('create view backup_old as select 1 as id; create view backup_new as select id from "backup_Area"')
    sets.sql("create or replace view backup_old as select id from backup_new")
    sets.put_aside("run2", {"backup_old": "old", "backup_new": "new"}, schema="public")
    sets.sql("delete from planrun.refresh where id = 'run1'")
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there("backup_old", "backup_new") == []


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("create view mine as select * from backup_town", "view public.mine depends on table public.backup_town"),
        (
            "create materialized view mine as select id from backup_seen",
            "materialized view public.mine depends on view public.backup_seen",
        ),
        (
            "create table mine (id int references backup_town)",
            "constraint mine_id_fkey on table public.mine depends on",
        ),
        ("create table mine (t backup_town)", "column t of table public.mine depends on type public.backup_town"),
        (
            "create table mine (id int default nextval('\"backup_Area_id_seq\"'))",
            "default value for column id of table public.mine depends on",
        ),
        ("create table mine () inherits (backup_town)", "table public.mine depends on table public.backup_town"),
    ],
)
def test_what_depends_on_it_is_told_and_keeps_all_of_it(
    sets: Sets, sql: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sets.sql(sql)
    assert sets.planrun("diff", "plan") == 0
    shown = capsys.readouterr().out
    assert "so nothing is dropped" in shown and named in shown
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert named in capsys.readouterr().err
    assert len(sets.there('"backup_Area"', "backup_town", "backup_seen", "backup_seen_too", "mine")) == 5
    assert sets.refresh("run1") is not None


def test_a_warning_lets_the_run_go_on(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("create view mine as select * from backup_town")
    sets.write(PLAN.replace("cleanup,", "cleanup, on_error: warn,"))
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert "1 warned" in capsys.readouterr().out
    assert sets.there("mine", "backup_town") == ["mine", "backup_town"]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("comment on table backup_town is null", "table public.backup_town does not carry the marker"),
        ("comment on table backup_town is 'planrun refresh run9: x'", "public.backup_town does not carry the marker"),
        ("alter table backup_town rename to keep_me", "table public.keep_me has another name than planrun gave it"),
        ("create schema s; alter table backup_town set schema s", "table s.backup_town has another name"),
    ],
)
def test_what_is_not_as_it_was_left_is_refused_by_name(
    sets: Sets, sql: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sets.sql(sql)
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert named in capsys.readouterr().err
    assert sets.there('"backup_Area"', "backup_seen") == ['"backup_Area"', "backup_seen"]


def test_what_is_gone_already_is_forgotten(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("drop materialized view backup_seen_too; drop view backup_seen")
    assert sets.planrun("diff", "plan") == 0
    assert "gone already: public.seen, public.seen_too" in capsys.readouterr().out
    sets.sql('drop table backup_town, "backup_Area"')
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.refresh("run1") is None


def test_a_partition_that_somebody_attached_does_not_go_along(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("create table backup_log (n int) partition by list (n); create table mine (n int)")
    sets.sql("create table backup_log_1 partition of backup_log for values in (1)")
    sets.put_aside("run2", {"backup_log": "log", "backup_log_1": "log_1"}, schema="public")
    sets.sql("alter table backup_log attach partition mine for values in (2)")
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert "public.mine would go with what it belongs to, and is none of ours" in capsys.readouterr().err
    sets.sql("alter table backup_log detach partition mine")
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there("mine", "backup_log", "backup_log_1") == ["mine"]


def test_a_reader_is_waited_for_and_never_ended(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(sets.dsn, application_name="a report") as reader:
        reader.execute("select from users")
        threading.Timer(1.5, reader.rollback).start()
        assert sets.planrun("apply", "plan", "--yes") == 0, capsys.readouterr().err
    with psycopg.connect(sets.dsn, application_name="a report") as reader:
        sets.sql("create table backup_y (by int references users)")
        sets.put_aside("run3", {"backup_y": "y"})
        reader.execute("select from users")
        sets.write(PLAN.replace("deadline: 3s", "deadline: 100ms, lock_timeout: 800ms"))
        assert sets.planrun("apply", "plan", "--yes") == 1
        assert "a report" in capsys.readouterr().err
        assert reader.execute("select 1").fetchone() == (1,)
    assert sets.there("backup_y") == ["backup_y"]


def test_only_the_schema_or_the_set_that_is_named(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("create schema s; create table s.backup_t (id int)")
    sets.put_aside("run2", {"backup_t": "t"}, schema="s")
    sets.write(PLAN.replace("deadline: 3s", "schema: s"))
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there("s.backup_t", "backup_town") == ["backup_town"]
    sets.write(PLAN.replace("deadline: 3s", "set: run9"))
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert "there is no backup set run9" in capsys.readouterr().err
    sets.write(PLAN.replace("deadline: 3s", "set: run1"))
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there("backup_town") == []


@pytest.mark.parametrize("given", ["", "schema: public"])
def test_sets_of_other_plans_stay(sets: Sets, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("create table backup_theirs (id int)")
    sets.put_aside("run2", {"backup_theirs": "theirs"}, plan="nightly")
    sets.write(PLAN.replace("deadline: 3s", given))
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert "left alone: the set run2 of plan nightly" in capsys.readouterr().err
    assert sets.there("backup_theirs", "backup_town") == ["backup_theirs"]
    sets.write(PLAN.replace("deadline: 3s", "set: run2"))
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there("backup_theirs") == []


def test_what_a_rollback_put_aside_goes_as_well(sets: Sets) -> None:
    sets.sql("create schema undone; comment on schema undone is 'planrun refresh run2: undone'")
    sets.sql("create table undone.t (id int primary key)")
    sets.put_aside("run2", {"t": "t"}, schema="undone", state="undone", about={"undone": "undone"})
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there("undone.t", "backup_town") == []
    assert sets.sql("select from pg_namespace where nspname = 'undone'") == []
