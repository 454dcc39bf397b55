"""status, abort and backups, as they tell of shadow tables and backup sets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.database.connections import Connections
from runner.database.run_lock import RunLock, application_name
from runner.journal.file import FileJournal
from runner.journal.history import fold
from runner.refresh.capture import change_capture
from runner.refresh.records import Key, Watched
from tests import servers
from tests.madesets import Sets
from tests.servers import Server

PLAN = """
name: prod
connections: {source: {}, target: {}}
steps:
  - id: prepare
    steps:
      - {id: check, uses: shadow_verify}
  - {id: cleanup, when: prepare.ok, on_error: warn, uses: drop_backup_set}
rollback:
  - {id: gone, uses: drop_backup_set}
"""
READS_VARIABLES = (
    PLAN.replace(
        "{id: check,", "{id: tell, uses: command, with: {argv: [echo, '${env.NOT_SET_HERE}']}}\n      - {id: check,"
    )
    + "params: {n: {type: string, default: '${env.NOT_SET_HERE}'}}\n"
)
SHADOW = "planrun_shadow_public"
DDL = (
    "create table users (id int primary key, town int)",
    "create table log (n int) partition by list (n)",
    "create table log_1 partition of log for values in (1)",
    "create view seen as select id from users",
    "create materialized view seen_too as select id from seen",
    "create sequence free",
)


@pytest.fixture
def sets(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sets]:
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    sets = Sets(db, tmp_path)
    sets.write(PLAN)
    sets.sql("create table public.users (id int primary key, town int); create table public.backup_x (n int)")
    yield sets
    sets.close()


def capture_changes(sets: Sets, id: str) -> None:
    """Note the changes of the live table, as a sync does, and make three."""
    oid = sets.oid("public", "users")[0]
    live = Watched(refresh=id, oid=oid, schema="public", name="users", key=(Key("id", "integer"),), columns=("id",))
    sets.sql(change_capture.install([live], id))
    sets.sql("insert into public.users values (1), (2), (3)")


def shadow(sets: Sets, id: str = "run1", **more: Any) -> None:
    names = ("users", "log", "log_1", "seen", "seen_too", "free")
    sets.shadow(id, {name: {"rows": 0} for name in names}, **{"ddl": DDL, **more})


def status(sets: Sets, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert sets.planrun("status", "plan", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)["refreshes"]
    assert isinstance(found, list)
    return found


# ------------------------------------------------------------------ status


def test_a_shadow_set_with_what_waits_and_what_to_type(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(sets, capsys) == []
    shadow(sets)
    capture_changes(sets, "run1")
    assert sets.planrun("status", "plan") == 0
    shown = capsys.readouterr().out
    assert "shadow set of schema public: 2 tables, 0 rows" in shown and "by run run1 of plan prod" in shown
    assert "waiting to be copied: 3 changed keys" in shown
    assert f"remove it: planrun abort {sets.plan}" in shown and "--resume" not in shown
    (found,) = status(sets, capsys)
    assert found["keys_waiting"] == 3 and found["next"] == [f"planrun abort {sets.plan}"]
    sets.sql("truncate public.users")
    assert sets.planrun("status", "plan") == 0
    assert "waiting to be copied: a TRUNCATE, so all rows" in capsys.readouterr().out


def test_the_run_that_made_it_can_go_on(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("apply", "plan", "--yes") == 1
    run = json.loads(_history(sets, capsys))["runs"][-1]["run"]
    shadow(sets, run, state="loading")
    assert sets.planrun("status", "plan") == 0
    shown = capsys.readouterr().out
    assert "a run that is no longer at work left it unfinished; the live tables are unchanged" in shown
    assert f"go on: planrun apply {sets.plan} --resume\n  remove it: planrun abort {sets.plan}\n" in shown


def _history(sets: Sets, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    sets.planrun("history", "plan", "-o", "json")
    return capsys.readouterr().out


def test_a_backup_set_and_the_way_back(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("create table backup_users (id int)")
    sets.put_aside("run1", {"backup_users": "users"})
    assert sets.planrun("status", "plan") == 0
    shown = capsys.readouterr().out
    assert "backup set of schema public: 1 table" in shown and f"put it back: planrun rollback {sets.plan}" in shown
    assert f"drop it: planrun backups prune {sets.plan} run1" in shown


def test_what_belongs_to_another_plan_is_told_and_left_to_it(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    shadow(sets, plan="other")
    assert sets.planrun("status", "plan") == 0
    assert "belongs to plan other" in capsys.readouterr().out
    assert sets.planrun("abort", "plan", "--yes") == 0
    assert "nothing to abort" in capsys.readouterr().out
    assert sets.there(f"{SHADOW}.users") != []


def test_select_is_enough_for_a_status(sets: Sets, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    shadow(sets)
    capture_changes(sets, "run1")
    role = "planrun_reader_of_status"
    sets.sql(f"drop role if exists {role}")
    sets.sql(f"create role {role} login")
    try:
        sets.sql(f"grant usage on schema planrun to {role}")
        sets.sql(f"grant select on planrun.refresh, planrun.member to {role}")
        monkeypatch.setenv("DATABASE_URL", psycopg.conninfo.make_conninfo(sets.dsn, user=role))
        (found,) = status(sets, capsys)
        assert found["tables"] == 2 and found["keys_waiting"] is None
        sets.sql(f"revoke select on planrun.refresh from {role}")
        assert sets.planrun("status", "plan") == 0
        assert "warning: planrun cannot tell which shadow tables" in capsys.readouterr().err
    finally:
        sets.sql(f"drop owned by {role}")
        sets.sql(f"drop role {role}")


def test_a_plan_that_swaps_nothing_asks_no_server(
    sets: Sets, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.write("name: files\nbackup: {path: here, enabled: true}\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    assert sets.planrun("status", "plan") == 0
    assert sets.planrun("backups", "list", "plan", "-o", "json") == 0
    assert "sets" not in json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))


# ------------------------------------------------------------------ abort


@pytest.mark.parametrize("state", ["loading", "loaded"])
def test_abort_removes_what_was_prepared_and_nothing_else(
    sets: Sets, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sets.planrun("abort", "plan") == 0
    assert "nothing to abort" in capsys.readouterr().out
    sets.sql("create table backup_users (id int)")
    sets.put_aside("run0", {"backup_users": "users"})
    shadow(sets, state=state)
    capture_changes(sets, "run1")
    assert sets.planrun("abort", "plan", "--yes", "-v") == 0, capsys.readouterr().err
    shown = capsys.readouterr().err
    assert f'lock table "public"."users", "{SHADOW}"."users"' in shown and "cascade" not in shown.lower()
    assert f'drop schema if exists "{SHADOW}" restrict' in shown
    assert sets.there(f"{SHADOW}.users", f"{SHADOW}.seen", f"{SHADOW}.free") == []
    assert sets.sql(f"select from pg_namespace where nspname = '{SHADOW}'") == []
    assert sets.sql("select tgname from pg_trigger where tgname like 'planrun%'") == []
    assert sets.sql("select relname from pg_class where relname like 'keys\\_%' and relkind = 'r'") == []
    assert sets.there("users", "backup_users", "backup_x") == ["users", "backup_users", "backup_x"]
    assert sets.sql("select count(*) as n from public.users")[0]["n"] == 3
    assert sets.refresh("run1") is None and sets.refresh("run0") is not None
    assert sets.planrun("abort", "plan", "--yes") == 0
    assert "nothing to abort" in capsys.readouterr().out


def test_what_there_is_nothing_of_is_told_in_one_line(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("create table backup_users (id int)")
    sets.put_aside("run0", {"backup_users": "users"})
    assert sets.planrun("apply", "plan", "--yes") == 1
    capsys.readouterr()
    assert sets.planrun("abort", "plan") == 0
    first, *_, last = capsys.readouterr().out.splitlines(keepends=True)
    assert first.startswith("target: ") and last == (
        "nothing to abort: the database has no shadow tables, triggers or key journals of plan prod; "
        "the changes that its steps committed stay\n"
    )
    assert sets.planrun("abort", "plan", "-o", "jsonl") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "nothing_to_abort"


@pytest.mark.parametrize("left", [False, True])
def test_an_abort_leaves_a_run_at_work_alone(sets: Sets, left: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if left:
        shadow(sets)
    connections = Connections({}, {"DATABASE_URL": sets.dsn}, application=application_name("run7"))
    with contextlib.closing(RunLock(connections, "", "prod")):
        assert sets.planrun("abort", "plan", "--yes") == 11
    said = capsys.readouterr()
    assert "error: PR0501 another run of plan 'prod' is at work: run run7, host " in said.err and said.out == ""
    assert "hint: wait until it ends" in said.err
    assert (sets.refresh("run1") is not None) == left


def test_an_abort_needs_no_variable_that_only_steps_read(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.write(READS_VARIABLES)
    assert sets.planrun("diff", "plan") == 5
    assert sets.planrun("abort", "plan", "--yes") == 0, capsys.readouterr().err
    shadow(sets)
    assert sets.planrun("abort", "plan", "--yes") == 0, capsys.readouterr().err
    assert sets.refresh("run1") is None


@pytest.mark.parametrize("plan", ["the connection", "a param"])
def test_an_abort_goes_to_no_other_server_than_the_plans(
    sets: Sets, plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    host = "${env.NOT_SET_HERE}" if plan == "the connection" else "${params.host}"
    text = PLAN.replace("target: {}", f"target: {{host: '{host}'}}")
    sets.write(text + ("params: {host: {type: string, default: '${env.NOT_SET_HERE}'}}\n" if plan == "a param" else ""))
    shadow(sets)
    assert sets.planrun("abort", "plan", "--yes") == 4
    assert "connection target needs host: ${" in capsys.readouterr().err
    assert sets.refresh("run1") is not None


def test_after_an_abort_there_is_nothing_to_resume(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("apply", "plan", "--yes") == 1
    shadow(sets)
    assert sets.planrun("abort", "plan", "--yes") == 0
    capsys.readouterr()
    assert sets.planrun("apply", "plan", "--resume", "--yes") == 64
    assert "no unfinished run to resume" in capsys.readouterr().err
    assert json.loads(_history(sets, capsys))["runs"][-1]["mode"] == "abort"


def test_a_stranger_in_the_shadow_schema_keeps_it_and_is_named(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    shadow(sets)
    sets.sql(f"create view public.mine as select * from {SHADOW}.users")
    assert sets.planrun("abort", "plan", "--yes") == 1
    assert f"view public.mine depends on table {SHADOW}.users" in capsys.readouterr().err
    sets.sql(f"drop view public.mine; create table {SHADOW}.mine (n int)")
    assert sets.planrun("abort", "plan", "--yes") == 1
    assert f"table {SHADOW}.mine depends on schema {SHADOW}" in capsys.readouterr().err
    sets.sql(f"drop table {SHADOW}.mine")
    sets.sql(f"comment on schema {SHADOW} is null")
    assert sets.planrun("abort", "plan", "--yes") == 1
    assert f"schema {SHADOW} is not the one that planrun created, or lacks the marker" in capsys.readouterr().err


def test_another_schema_of_that_name_is_left_alone(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    shadow(sets, about={"shadow_oid": 4711})
    assert sets.planrun("abort", "plan", "--yes") == 1
    assert f"schema {SHADOW} is not the one that planrun created" in capsys.readouterr().err


def test_schemas_of_views_elsewhere_go_as_well(sets: Sets) -> None:
    sets.sql("create schema planrun_shadow_s; comment on schema planrun_shadow_s is 'planrun refresh run1: views'")
    oid = sets.sql("select 'planrun_shadow_s'::regnamespace::oid::int8 as oid")[0]["oid"]
    shadow(sets, about={"shadow_schemas": {"planrun_shadow_s": oid}})
    assert sets.planrun("abort", "plan", "--yes") == 0
    assert sets.sql("select from pg_namespace where nspname like 'planrun_shadow%'") == []


def test_an_abort_asks(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    shadow(sets)
    assert sets.planrun("abort", "plan") == 1
    said = capsys.readouterr().err
    assert "shadow set of schema public: 2 tables" in said and "needs an answer" in said
    assert sets.refresh("run1") is not None


# ------------------------------------------------------------------ backups


@pytest.fixture
def aside(sets: Sets) -> Sets:
    sets.sql("create table backup_users (id int); insert into backup_users values (1), (2)")
    sets.sql("create view backup_seen as select * from backup_users")
    sets.put_aside("20250101T000000Z-abcd", {"backup_users": "users", "backup_seen": "seen"})
    return sets


def test_sets_are_listed(sets: Sets, aside: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("backups", "list", "plan") == 0
    head, row = capsys.readouterr().out.splitlines()[-2:]
    assert head.split() == ["SET", "STATE", "SCHEMA", "TABLES", "ROWS", "SIZE", "MADE", "BY", "RUN"]
    assert row.split()[:5] == ["20250101T000000Z-abcd", "backup", "public", "1", "?"]
    sets.sql("analyze backup_users")
    assert sets.planrun("backups", "list", "plan") == 0
    assert "~2" in capsys.readouterr().out
    sets.sql("delete from planrun.refresh")
    assert sets.planrun("backups", "list", "plan") == 0
    assert "no backup set yet" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["latest", "2025", "20250101T000000Z-abcd"])
def test_a_set_is_verified(sets: Sets, aside: Sets, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("backups", "verify", "plan", word) == 0
    said = capsys.readouterr().out
    assert said.startswith("target: ")
    assert said.endswith(
        "\n20250101T000000Z-abcd: 1 table there, marked and read to the end\n  public.backup_users: 2 rows\n"
    )
    assert sets.planrun("backups", "verify", "plan", word, "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2


def test_the_proof_of_a_set_is_a_run_and_writes_nothing_to_the_database(
    sets: Sets, aside: Sets, tmp_path: Path
) -> None:
    sets.write(f"journal: database\n{PLAN}")
    assert sets.planrun("backups", "verify", "plan") == 0
    (path,) = (tmp_path / "state").glob("*_verify-*.jsonl")
    (run,) = fold(FileJournal(path).records())
    assert run.state == "ok" and run.outcomes["verify"]["outputs"]["rows"] == 2
    assert sets.there("planrun.journal") == []


def test_a_set_that_is_not_whole_does_not_verify(sets: Sets, aside: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql("update planrun.member set about = about || '{\"rows\": 3}' where kind = 'table'")
    assert sets.planrun("backups", "verify", "plan") == 6
    assert "public.backup_users has 2 rows instead of the 3" in capsys.readouterr().err
    sets.sql("drop view backup_seen; comment on table backup_users is 'mine'")
    assert sets.planrun("backups", "verify", "plan") == 6
    said = capsys.readouterr().err
    assert "public.seen is gone" in said and "public.backup_users does not carry the marker" in said


def test_a_set_is_pruned_when_it_is_named(sets: Sets, aside: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("backups", "prune", "plan", "nothing", "--yes") == 64
    assert "there is no backup set nothing" in capsys.readouterr().err
    assert sets.planrun("backups", "prune", "plan", "2025", "--dry-run") == 0
    assert "backup set of schema public: 1 table" in capsys.readouterr().out
    assert sets.there("backup_users") == ["backup_users"]
    assert sets.planrun("backups", "prune", "plan", "2025", "--yes") == 0
    assert sets.there("backup_users", "backup_seen", "backup_x", "users") == ["backup_x", "users"]


# ------------------------------------------------------------------ every version


@pytest.mark.parametrize("each_version", servers.majors_to_compare(), indirect=True)
def test_every_version(
    each_version: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dsn = each_version.create("sets")
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    sets = Sets(dsn, tmp_path)
    sets.write(PLAN)
    try:
        sets.sql("create table public.users (id int primary key); create table public.backup_users (id int)")
        sets.put_aside("20250101T000000Z-abcd", {"backup_users": "users"})
        shadow(sets)
        sets.sql("alter table public.users add town int")
        capture_changes(sets, "run1")
        assert [one["keys_waiting"] for one in status(sets, capsys)] == [None, 3]
        assert sets.planrun("apply", "plan", "--until", "prepare", "--yes") == 0, capsys.readouterr().err
        assert sets.planrun("abort", "plan", "--yes") == 0, capsys.readouterr().err
        assert sets.planrun("backups", "verify", "plan") == 0
        assert sets.planrun("backups", "prune", "plan", "2025", "--yes") == 0, capsys.readouterr().err
        assert sets.there("users", "backup_users", f"{SHADOW}.users") == ["users"]
    finally:
        sets.close()
        each_version.drop("sets")
