"""Shadow tables are proved against what the load recorded, preserved ones against the live tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import resources
from runner.refresh.capture import change_capture
from runner.refresh.catalog.relations import ForeignKey
from runner.refresh.records import Key, Watched
from runner.safesql.templates import Templates
from runner.shadow import comparing
from tests.madesets import Sets

PLAN = """
name: prod
connections: {target: {}}
steps:
  - {id: check, uses: shadow_verify, with: {level: checksum}}
"""
SHADOW = "planrun_shadow_public"


@pytest.fixture
def sets(db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sets]:
    monkeypatch.setenv("DATABASE_URL", db)
    monkeypatch.setenv("PLANRUN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CI", "1")
    sets = Sets(db, tmp_path)
    sets.write(PLAN)
    yield sets
    sets.close()


def load_record(sets: Sets, name: str, parts: bool = False) -> dict[str, Any]:
    """Return what a load records of a shadow table: its rows and the sum of their content."""
    sets.sql("set timezone = 'UTC'; set intervalstyle = postgres")
    text = Templates((resources.SQL,)).sql("refresh/content.sql.j2", schema=SHADOW, name=name, parts=parts)
    return sets.sql(text)[0]


def load(sets: Sets, **about: Any) -> None:
    """Make a shadow of three tables, one of them partitioned, with what a load records."""
    sets.sql(f"create schema if not exists {SHADOW}")
    ddl = [
        'create table "Town" (id int primary key, name text)',
        "create table log (n int, t timestamptz) partition by list (n)",
        "create table log_1 partition of log for values in (1)",
        "create table users (id int primary key, town int, x int generated always as (id * 2) stored)",
        'insert into "Town" select n, n::text from generate_series(1, 5) as n',
        "insert into log select 1, now() from generate_series(1, 4)",
    ]
    sets.sql(f"set search_path = {SHADOW}")
    for text in ddl:
        sets.sql(text)
    sets.sql("reset search_path")
    tables = {
        "Town": load_record(sets, "Town"),
        "log": load_record(sets, "log", parts=True),
        "log_1": {},
        "users": {"rows": 0, "checksum": "0"},
    }
    sets.shadow("run1", tables, about=about)


@pytest.mark.parametrize("level", ["counts", "checksum"])
def test_what_was_loaded_is_proved(sets: Sets, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(sets)
    sets.write(PLAN.replace("checksum", level))
    assert sets.planrun("diff", "plan", "-v") == 0
    shown = capsys.readouterr().out
    what = "rows" if level == "counts" else "rows and content"
    assert f'prove public."Town": {what} are those of the source snapshot' in shown and "log_1" not in shown
    assert "no invalid index" in shown
    assert sets.planrun("apply", "plan", "--yes", "-o", "json") == 0
    out = capsys.readouterr().out
    assert '"rows": 9' in out and f'"level": "{level}"' in out


def test_a_row_too_few_and_a_changed_value_are_told(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    load(sets)
    sets.sql(f"delete from {SHADOW}.log; update {SHADOW}.\"Town\" set name = 'x' where id = 1")
    assert sets.planrun("apply", "plan", "--yes") == 6
    said = capsys.readouterr().err
    assert "public.log has 0 rows instead of the 4" in said and 'public."Town" has other content' in said


def test_without_a_load_there_is_nothing_to_prove(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert "no shadow tables are loaded" in capsys.readouterr().err
    load(sets)
    sets.sql("update planrun.refresh set plan = 'other'")
    assert sets.planrun("apply", "plan", "--yes") == 1
    sets.sql(f"update planrun.refresh set plan = 'prod'; drop table {SHADOW}.log")
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert "shadow tables are gone: public.log" in capsys.readouterr().err


def test_an_invalid_index_and_an_unproved_foreign_key_are_named(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    key = ForeignKey(
        name="users_town_fkey", schema="public", table="users", columns=["town"], ref_schema="public",
        ref_table="Town", ref_columns=["id"],
    )  # fmt: skip
    load(sets, foreign_keys=(key,))
    sets.sql(f'alter table {SHADOW}.users add foreign key (town) references {SHADOW}."Town" not valid')
    sets.sql(f"create index late on {SHADOW}.users (town)")
    sets.sql("update pg_index set indisvalid = false where indexrelid = 'planrun_shadow_public.late'::regclass")
    assert sets.planrun("apply", "plan", "--yes") == 1
    said = capsys.readouterr().err
    assert "index planrun_shadow_public.late of planrun_shadow_public.users is not valid" in said
    assert "foreign key users_town_fkey of planrun_shadow_public.users is not validated" in said


def test_orphans_are_counted_before_the_swap_meets_them(sets: Sets, capsys: pytest.CaptureFixture[str]) -> None:
    sets.sql('create table public."Town" (id int primary key); create schema s')
    sets.sql('create table s.house (id int, town int constraint house_town_fkey references public."Town")')
    sets.sql('insert into public."Town" values (1), (99), (98)')
    sets.sql("insert into s.house values (1, 1), (2, 99), (3, 98), (4, null)")
    key = ForeignKey(
        name="users_town_fkey", schema="public", table="users", columns=["town"], ref_schema="public",
        ref_table="Town", ref_columns=["id"],
    )  # fmt: skip
    load(sets, foreign_keys=(key,))
    assert sets.planrun("apply", "plan", "--yes") == 1
    said = capsys.readouterr().err
    assert 'foreign key house_town_fkey: 2 rows of s.house have no public."Town"' in said
    sets.sql("delete from s.house where id > 1")
    assert sets.planrun("apply", "plan", "--yes") == 0
    sets.sql(f"insert into {SHADOW}.users values (7, 77)")
    sets.sql("update planrun.member set about = '{\"rows\": 1}' where name = 'users'")
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert 'foreign key users_town_fkey: 1 row of public.users has no public."Town"' in capsys.readouterr().err


@pytest.fixture
def change_preserved(sets: Sets) -> Callable[[], None]:
    """A preserved table whose live columns stand in another order, with changes that are noted."""
    sets.sql("create table public.users (gone int, town bigint, id int primary key)")
    sets.sql("insert into public.users select 0, n, n from generate_series(1, 10) as n")
    load(sets, preserved=["users"])
    sets.sql(f"insert into {SHADOW}.users (id, town) select id, town from public.users")
    oid = sets.oid("public", "users")[0]
    live = Watched(
        refresh="run1", oid=oid, schema="public", name="users", key=(Key("id", "integer"),), columns=("id", "town")
    )

    def install() -> None:
        sets.sql(change_capture.install([live], "run1"))
        sets.sql("delete from public.users where id < 3; insert into public.users values (0, 5, 50)")

    return install


@pytest.mark.parametrize("level", ["counts", "checksum"])
def test_a_preserved_table_is_caught_up_and_compared_with_the_live_one(
    sets: Sets, change_preserved: Callable[[], None], level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_preserved()
    sets.write(PLAN.replace("checksum", level))
    assert sets.planrun("diff", "plan", "-v") == 0
    assert "prove public.users: rows and content are those of the live table" in capsys.readouterr().out
    assert sets.planrun("apply", "plan", "--yes") == 0, capsys.readouterr().err
    assert sets.sql(f"select count(*) as n from {SHADOW}.users")[0]["n"] == 9
    sets.sql(f"insert into {SHADOW}.users (id, town) values (1000, 1)")
    assert sets.planrun("apply", "plan", "--yes") == 6
    assert "public.users has 10 rows instead of the 9 in the live table" in capsys.readouterr().err


def test_a_truncate_meanwhile_waits(
    sets: Sets,
    change_preserved: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rows that a TRUNCATE takes away after the snapshot would be missing in it, on one side only."""
    change_preserved()
    assert sets.planrun("apply", "plan", "--yes") == 0
    reads = comparing._read

    def truncate_first(conn: Any, query: str) -> Any:
        if f'"{SHADOW}"."users"' in query:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                sets.sql("set lock_timeout = '200ms'; truncate public.users")
        return reads(conn, query)

    monkeypatch.setattr(comparing, "_read", truncate_first)
    assert sets.planrun("apply", "plan", "--yes") == 0, capsys.readouterr().err


def test_a_value_that_differs_is_found(
    sets: Sets, change_preserved: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    change_preserved()
    sets.sql(f"update {SHADOW}.users set town = 4 where id = 3")
    assert sets.planrun("apply", "plan", "--yes") == 6
    assert "public.users has other content than the live table" in capsys.readouterr().err


def test_a_preserved_table_that_nobody_watches_is_refused(
    sets: Sets, change_preserved: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sets.planrun("apply", "plan", "--yes") == 1
    assert "public.users is preserved, and nothing records its changes" in capsys.readouterr().err
