"""Tables of an older tool become a set when they are named, and only then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.madesets import Sets

PLAN = """
name: prod
connections: {target: {}}
steps:
  - {id: adopt, uses: adopt_backup_set, with: {tables: [backup_Area, {table: old users, of: users}]}}
"""


@pytest.fixture
def sets(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sets]:
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    sets = Sets(db, tmp_path)
    sets.sql("drop schema planrun cascade")
    sets.write(PLAN)
    sets.sql("""
        create table "Area" (id int);
        create table "backup_Area" (id int primary key);
        comment on table "backup_Area" is 'of the seed';
        create table "old users" (id int);
        create table backup_mine (id int);
        insert into "backup_Area" select generate_series(1, 10);
    """)
    yield sets
    sets.close()


def adopted_id(sets: Sets) -> str:
    return str(sets.sql("select id from planrun.refresh")[0]["id"])


def test_they_are_members_with_the_marker_and_their_old_comment_is_kept(
    sets: Sets, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sets.planrun("diff", "plan") == 0
    assert 'public."old users": backup of public.users' in capsys.readouterr().out
    assert sets.planrun("apply", "plan", "--yes") == 0, capsys.readouterr().err
    found = sets.refresh(adopted_id(sets))
    assert found is not None and found.state == "swapped" and found.id.startswith("adopted-") and found.swapped
    assert [(m.name, m.now_name, m.marked) for m in found.members] == [
        ("Area", "backup_Area", True),
        ("users", "old users", True),
    ]
    assert found.members[0].record.comment == "of the seed"
    assert sets.sql("select obj_description('backup_mine'::regclass) as c")[0]["c"] is None


def test_a_second_run_has_nothing_to_do(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("apply", "plan", "--yes") == 0
    capsys.readouterr()
    assert sets.planrun("diff", "plan", "--detailed-exitcode") == 0
    assert "adopted already: nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        ("backup_nothing", "public.backup_nothing does not exist"),
        ("{table: v, of: Area}", "public.v is not a plain table"),
        ("{table: p, of: Area}", "public.p is not a plain table"),
        ("{table: p_1, of: Area}", "public.p_1 is a partition"),
        ("{table: child, of: Area}", "public.child inherits"),
        ("Area", "planrun cannot tell which table"),
        ("s.backup_Area", "is not in schema public"),
    ],
)
def test_what_is_no_plain_table_is_refused(
    sets: Sets, tables: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sets.sql('create view v as select 1 as n; create table child () inherits ("Area")')
    sets.sql("create table p (n int) partition by list (n); create table p_1 partition of p for values in (1)")
    sets.write(PLAN.replace("backup_Area", tables))
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert reason in capsys.readouterr().err
    assert sets.there("planrun.refresh") == []


def test_members_are_refused_and_so_is_a_second_set(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("apply", "plan", "--yes") == 0
    sets.write(PLAN.replace("backup_Area", "backup_mine"))
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert 'public."old users" belongs to adopted-' in capsys.readouterr().err
    sets.write(PLAN.replace("backup_Area, {table: old users, of: users}", "backup_mine"))
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert "schema public has a backup set already: adopted-" in capsys.readouterr().err


def test_the_command_adopts_and_the_set_is_dropped_as_ours(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.write("name: prod\nconnections: {target: {}}\nsteps: [{id: cleanup, uses: drop_backup_set}]\n")
    assert sets.planrun("backups", "adopt", "plan", "backup_Area", "old users=users", "--yes") == 0
    capsys.readouterr()
    assert sets.planrun("backups", "list", "plan", "-o", "json") == 0
    listed = json.loads(capsys.readouterr().out)["sets"]
    assert [(one["tables"], one["state"]) for one in listed] == [(2, "swapped")]
    assert sets.planrun("backups", "verify", "plan", "adopted") == 0
    assert 'public."backup_Area": 10 rows' in capsys.readouterr().out
    assert sets.planrun("apply", "plan", "--yes") == 0
    assert sets.there('"backup_Area"', '"old users"', "backup_mine", '"Area"') == ["backup_mine", '"Area"']
