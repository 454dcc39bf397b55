"""The read-only window: what a diff asks changes nothing, waits for nothing without end, and sees what it should."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import resources
from runner.database.connections import Connections
from runner.errors import PlanError, TargetError
from runner.model import Plan
from runner.run.catalog_reader import LiveCatalogReader
from runner.safesql.templates import Templates

ROOT = Path(__file__).parents[2]
Make = Callable[..., LiveCatalogReader]


@pytest.fixture
def make(db: str, tmp_path: Path) -> Iterator[Make]:
    made: list[LiveCatalogReader] = []

    def reader(**env: str) -> LiveCatalogReader:
        plan = Plan(name="p", file="p.yml", folder=tmp_path / "f", root=tmp_path, digest="d", steps=())
        connections = Connections({}, {"DATABASE_URL": db, **env})
        made.append(LiveCatalogReader(plan, connections, Templates((resources.SQL,))))
        return made[-1]

    yield reader
    for each in made:
        each.close()


@pytest.fixture
def sql(db: str) -> Callable[[str], list[Any]]:
    def run(text: str) -> list[Any]:
        with psycopg.connect(db, autocommit=True) as conn:
            cursor = conn.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    return run


SETUP = """
create sequence seq; create table t (n int); insert into t values (1);
create function writes() returns int language sql volatile as 'insert into public.t values (2) returning n';
create function hides() returns int language plpgsql as $$
  begin execute 'insert into public.t values (3)'; return 1; end $$;
create function loosens() returns text language sql as $$ select set_config('transaction_read_only', 'off', false) $$
"""


@pytest.mark.parametrize(
    "query",
    [
        "select nextval('public.seq')",
        "select setval('public.seq', 9)",
        "select public.writes()",
        "select public.hides()",
        "select pg_catalog.lo_create(0)",
        "select * into public.u from public.t",
        "with gone as (delete from public.t returning n) select * from gone",
        "select * from public.t for update",
        "select public.loosens(), public.hides()",
        "select pg_catalog.set_config('default_transaction_read_only', 'off', false), public.writes()",
        "truncate public.t",
    ],
)
def test_what_a_query_would_change_is_refused(make: Make, sql: Callable[[str], list[Any]], query: str) -> None:
    sql(SETUP)
    reader = make()
    with pytest.raises(TargetError) as found:
        reader.rows(query)
    assert found.value.sqlstate in ("25006", "25001"), found.value
    with pytest.raises((TargetError, PlanError)):  # a plan's own text is read before it is sent
        reader.ask(query)
    assert sql("select n from t") == [(1,)] and sql("select last_value, is_called from seq") == [(1, False)]
    assert reader.ask("select 1 as one") == [{"one": 1}], "the window is good for the next question"


def test_what_one_query_sets_the_next_does_not_see(make: Make, sql: Callable[[str], list[Any]]) -> None:
    sql(SETUP)
    reader = make()
    reader.ask("select set_config('default_transaction_read_only', 'off', false), set_config('work_mem', '64', false)")
    with pytest.raises(TargetError) as found:
        reader.ask("select nextval('seq')")
    assert found.value.sqlstate == "25006"
    assert reader.ask("select current_setting('work_mem') as it") != [{"it": "64kB"}]


def test_a_query_waits_only_so_long(make: Make) -> None:
    reader, began = make(PLANRUN_ANSWER_TIMEOUT="1s"), time.monotonic()
    for ask in (reader.ask, reader.rows):
        with pytest.raises(TargetError) as found:
            ask("select pg_catalog.pg_sleep(20)")
        assert found.value.category == "timeout"
    assert time.monotonic() - began < 5


def test_the_sql_of_a_user_has_its_search_path_and_ours_has_none(make: Make, sql: Callable[[str], list[Any]]) -> None:
    sql("create table public.t as select 1 as n; create table public.pg_class as select 'mine' as whose")
    reader = make()
    assert reader.ask("select n from t") == [{"n": 1}]
    with pytest.raises(TargetError, match="does not exist"):
        reader.rows("select n from t")
    assert reader.rows("select count(*) > 100 as many from pg_class") == [{"many": True}]


def test_rows_are_json_data_and_numbers_stay_numbers(make: Make) -> None:
    (row,) = make().ask(
        "select 1 as i, 1.5::float8 as f, 'NaN'::float8 as nan, '-Infinity'::float8 as low, sum(n) as total, "
        "1.50::numeric as price, 'NaN'::numeric as odd, true as b, null as n, date '2025-07-20' as d, "
        "array[1, 2] as a, '{\"x\": [1]}'::jsonb as j, interval '1 day' as t, '\\x00ff'::bytea as raw "
        "from generate_series(1, 3) as n"
    )
    raw = row.pop("raw")
    assert isinstance(raw, str)
    assert row == {
        "i": 1, "f": 1.5, "nan": "nan", "low": "-inf", "total": 6, "price": "1.50", "odd": "NaN", "b": True, "n": None,
        "d": "2025-07-20", "a": [1, 2], "j": {"x": [1]}, "t": "1 day, 0:00:00",
    }  # fmt: skip


def test_only_so_many_rows_are_kept(make: Make) -> None:
    assert len(make().ask("select generate_series(1, 50)", limit=7)) == 7


def test_a_mistake_is_told_with_its_state_and_the_window_stays_open(make: Make) -> None:
    reader = make()
    with pytest.raises(TargetError, match="nope"):
        reader.ask("select nope")
    assert reader.ask("select 1 as one") == [{"one": 1}]


def test_a_cut_window_is_opened_again(make: Make, sql: Callable[[str], list[Any]]) -> None:
    reader = make()
    reader.ask("select 1")
    sql("select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'planrun' "
        "and datname = current_database()")  # fmt: skip
    with pytest.raises(TargetError) as found:
        reader.ask("select 1")
    assert found.value.category == "connection"
    assert reader.ask("select 1 as one") == [{"one": 1}]


def test_facts_of_the_server_and_the_plan(make: Make, db: str, tmp_path: Path) -> None:
    reader = make()
    facts = reader.server()
    assert facts.database == psycopg.conninfo.conninfo_to_dict(db)["dbname"] and facts.version >= 140000
    assert reader.server() is facts
    assert (reader.folder, reader.root) == (tmp_path / "f", tmp_path)
    assert reader.start_time.tzinfo is UTC and reader.start_time == reader.start_time
    assert reader.sessions(str(tmp_path / "none")) == ()
    assert Path(reader.pg_dump_for(facts.version // 10000)).name == "pg_dump"


def test_a_query_of_many_rows_takes_little_memory(db: str, tmp_path: Path) -> None:
    """20 million rows with a limit of 1000 took 4.9 GB; what is allowed here is for Python and its libraries."""
    step = "{id: q, uses: query, with: {text: 'select generate_series(1, 20000000) as n', limit: 1000}}"
    (tmp_path / "plan.yml").write_text(f"name: p\nsteps:\n  - {step}\n")
    for command in (("diff", "plan.yml"), ("apply", "plan.yml", "--yes")):
        limited = ["sh", "-c", 'ulimit -v 1500000; exec "$@"', "sh", sys.executable, "-m", "runner", *command]
        env = {**os.environ, "DATABASE_URL": db, "PYTHONPATH": str(ROOT), "PLANRUN_STATE_DIR": str(tmp_path)}
        done = subprocess.run(limited, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
