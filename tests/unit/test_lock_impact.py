"""What a diff and a rendering tell of locks, on a real server: sizes, holders, times, what else is in the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import api
from runner.errors import TargetError
from runner.impact import LockedRelation, StatementImpact, StepImpact
from runner.report import github, markdown, results, text
from runner.result import RunResult
from runner.run import lock_impact
from runner.run.catalog_reader import LiveCatalogReader
from runner.run.render import render_plan
from tests.servers import Server

Diff = Callable[..., RunResult]

SHOP = """
    create schema "Sales";
    create table customers (id int primary key);
    create table "Sales"."Big Orders" (id int, note varchar(20), customer int references customers);
    insert into "Sales"."Big Orders" select n, 'note', null from generate_series(1, 40000) as n;
    create table "Sales".small (id int);
    analyze;
"""


@pytest.fixture
def shop(db: str) -> str:
    with psycopg.connect(db, autocommit=True) as connection:
        connection.execute(SHOP)
    return db


@pytest.fixture
def diff(shop: str, tmp_path: Path) -> Diff:
    def made(*texts: str, db: str = shop, **env: str) -> RunResult:
        return api.diff(plan(tmp_path, *texts, **env), env={**words(tmp_path, db), **env})

    return made


def words(folder: Path, db: str) -> dict[str, str]:
    return {"DATABASE_URL": db, "PLANRUN_STATE_DIR": str(folder / "state")}


def plan(folder: Path, *texts: str, **env: str) -> Any:
    steps = [
        {
            "id": f"s{number}",
            "uses": "sql",
            "acknowledge": "a test",
            "with": {"text": one, "transaction": "concurrently" not in one},
        }
        for number, one in enumerate(texts)
    ]
    (folder / "p.yml").write_text(json.dumps({"name": "p", "steps": steps}))
    return api.load_plan(folder / "p.yml", env=env)


def impact(result: RunResult, path: str = "s0") -> StepImpact:
    found = result[path].impact
    assert found is not None
    return found


def relations(result: RunResult, path: str = "s0") -> dict[str, str]:
    every = [each for one in impact(result, path).statements for each in one.locks]
    return {each.name: each.mode for each in every if each.certain}


# ------------------------------------------------------------------ what is locked


def test_names_are_those_of_the_catalog_and_relatives_are_found(diff: Diff) -> None:
    result = diff('drop table "Sales"."Big Orders"; alter table customers add column a int')
    assert relations(result) == {
        '"Sales"."Big Orders"': "ACCESS EXCLUSIVE",
        "public.customers": "ACCESS EXCLUSIVE",
    }


def test_a_rewrite_of_a_big_table_is_loud_with_size_and_disk(diff: Diff) -> None:
    result = diff(
        'alter table "Sales"."Big Orders" add column a uuid default gen_random_uuid()',
        "insert into customers values (1)",
    )
    (one,) = impact(result).statements
    assert one.is_loud and one.rewrite == "yes"
    assert one.locks[0].rows == 40000 and one.disk == one.locks[0].bytes and (one.disk or 0) > 1 << 20
    lines = text.diff(result).splitlines()
    (line,) = [line for line in lines if "ADD COLUMN" in line]
    assert line.startswith('      ! ACCESS EXCLUSIVE on "Sales"."Big Orders" (about 40,000 rows, ')
    assert "ADD COLUMN with a volatile default, writes it anew, needs " in line and line.endswith(" of disk")
    assert "      # ROW EXCLUSIVE on public.customers: INSERT" in lines


def test_what_is_not_there_yet_holds_up_nobody(diff: Diff) -> None:
    result = diff("drop table if exists old_import; create table fresh (id int); create index on fresh (id)")
    first, *rest = impact(result).statements
    assert not first.locks[0].there and not first.is_loud
    assert [one.what for one in rest if one.locks] == []
    assert "(there is none now)" in text.diff(result)


def test_a_role_that_is_no_superuser_is_told_as_much(diff: Diff, shop: str, pg_server: Server) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("drop role if exists lock_reader")
        connection.execute("create role lock_reader login")
        connection.execute('grant usage on schema "Sales" to lock_reader')
        connection.execute("grant select on all tables in schema public to lock_reader")
    try:
        result = diff("truncate customers cascade", db=psycopg.conninfo.make_conninfo(shop, user="lock_reader"))
        assert relations(result)['"Sales"."Big Orders"'] == "ACCESS EXCLUSIVE"
        assert impact(result).seconds is None
    finally:
        with psycopg.connect(shop, autocommit=True) as connection:
            connection.execute("drop owned by lock_reader")
            connection.execute("drop role lock_reader")


def test_a_name_without_a_schema_is_looked_up_as_the_role_does(diff: Diff, shop: str) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(f'alter database {connection.info.dbname} set search_path = "Sales"')
    assert relations(diff("truncate small")) == {'"Sales".small': "ACCESS EXCLUSIVE"}


# ------------------------------------------------------------------ who is in the way


def test_holders_of_conflicting_locks_are_named(diff: Diff, shop: str, tmp_path: Path) -> None:
    with psycopg.connect(shop, application_name="web shop") as holder:
        holder.execute("select count(*) from customers")
        pid = holder.info.backend_pid
        result = diff(
            "alter table customers add column a int",
            "insert into customers values (1)",
            "create index concurrently on customers (id)",
        )
    (one,) = impact(result).statements
    assert [line.partition(", ")[0] for line in one.holders] == [f'pid {pid} ("web shop"']
    assert one.holders[0].endswith(" in ACCESS SHARE mode")
    assert impact(result, "s1").statements[0].holders == (), "they do not conflict"
    assert impact(result, "s2").statements[0].holders == ()
    assert f"        ! held now by pid {pid}" in text.diff(result)
    shown = github.of_result(result, tmp_path)
    assert f"::s0: ALTER TABLE ... ADD COLUMN waits for a lock that is held now by pid {pid} " in shown


def test_slots_that_keep_wal_are_named_where_a_table_is_written_anew(diff: Diff, shop: str) -> None:
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("select pg_create_physical_replication_slot('lock_slot', true)")
        try:
            anew = diff('alter table "Sales"."Big Orders" alter column id type bigint')
            quiet = diff("insert into customers values (1)")
        finally:
            connection.execute("select pg_drop_replication_slot('lock_slot')")
    (line,) = anew.surroundings
    assert line.startswith("replication slot lock_slot (inactive) keeps ") and "; a rewrite adds about " in line
    assert f"  ! {line}" in text.diff(anew)
    assert quiet.surroundings == ()


def test_transactions_and_standbys_in_words() -> None:
    row = {"name": "7", "who": "app", "state": "idle in transaction", "seconds": 125.0, "bytes": None}
    (line,) = lock_impact._SURROUNDING["transaction"](row, 0)
    assert line.startswith("pid 7 (app, idle in transaction) has been in a transaction for 2 min 5 s: ")
    (line,) = lock_impact._SURROUNDING["standby"]({**row, "name": "replica", "who": "10.0.0.2", "seconds": 1.5}, 0)
    assert line.startswith("standby replica (10.0.0.2, 1.5 s behind) replays it: ")
    (line,) = lock_impact._SURROUNDING["prepared"]({**row, "name": "gid"}, 0)
    assert "pg_prepared_xacts" in line


# ------------------------------------------------------------------ what it costs, and what goes wrong


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The queries that a diff asks."""
    found: list[str] = []
    for name in ("rows", "ask"):
        real = getattr(LiveCatalogReader, name)

        def spy(self: Any, query: str, *, _real: Any = real, **more: Any) -> Any:
            found.append(query)
            return _real(self, query, **more)

        monkeypatch.setattr(LiveCatalogReader, name, spy)
    yield found


def test_the_number_of_queries_does_not_grow_with_the_statements(diff: Diff, asked: list[str]) -> None:
    def count(*texts: str) -> int:
        asked.clear()
        diff(*texts)
        return len([one for one in asked if "lock" in one.partition("\n")[0]])

    few = count("lock table customers", 'lock table "Sales".small')
    many = count(*['lock table customers; lock table "Sales".small in share mode'] * 12)
    assert few == many == 3  # the relations, who holds locks, what else is there


def test_a_name_with_a_secret_is_not_sent(diff: Diff, asked: list[str], tmp_path: Path, shop: str) -> None:
    given = "{text: 'drop table {{ t|ident }}', values: {t: '${env.KEY}'}}"
    steps = f"steps:\n  - {{id: s0, uses: sql, acknowledge: x, with: {given}}}\n"
    (tmp_path / "p.yml").write_text(f"name: p\n{steps}")
    env = {**words(tmp_path, shop), "KEY": "hunter2-hunter2"}
    result = api.diff(api.load_plan(tmp_path / "p.yml", env=env), env=env)
    assert impact(result).statements[0].locks[0].mode == "ACCESS EXCLUSIVE"
    assert not [one for one in asked if "hunter2" in one] and "hunter2" not in text.diff(result)


def test_a_server_that_tells_nothing_does_not_make_the_diff_fail(diff: Diff, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LiveCatalogReader.ask

    def refuse(self: Any, query: str, **more: Any) -> Any:
        if query.startswith("-- Find the relations that statements lock"):
            raise TargetError("canceling statement due to statement timeout", code="PR0407")
        return real(self, query, **more)

    monkeypatch.setattr(LiveCatalogReader, "ask", refuse)
    result = diff("alter table customers add column a int")
    assert result.ok and relations(result) == {"customers": "ACCESS EXCLUSIVE"}
    assert result.surroundings == (
        "sizes and holders of locks are not known: canceling statement due to statement timeout",
    )


# ------------------------------------------------------------------ times, formats, offline


def test_the_times_are_those_of_the_last_success(diff: Diff, shop: str, tmp_path: Path) -> None:
    update = "update customers set id = id"
    assert impact(diff(update)).seconds is None
    env = words(tmp_path, shop)
    assert api.apply(plan(tmp_path, update), env=env).ok
    found = impact(diff(update))
    assert found.seconds is not None and 0 <= found.seconds < 30 and found.locked is None
    assert " the last time" in text.diff(diff(update))


def test_the_data_has_all_of_it(diff: Diff) -> None:
    result = diff(
        "alter table customers alter column id set not null; do $$ begin end $$",
        "create index concurrently on customers (id)",
    )
    steps = results.as_json(result)["steps"]
    first, opaque = steps[0]["impact"]["statements"]
    assert first["statement"] == "ALTER TABLE ... ALTER COLUMN SET NOT NULL" and first["scan"] == "perhaps"
    assert first["locks"][0]["relation"] == "public.customers" and first["locks"][0]["there"]
    assert opaque["opaque"] == "a DO block may lock anything"
    assert steps[1]["impact"]["statements"][0]["transaction"] == "no"
    page = markdown.result(result)
    assert "| :warning: | s0 | ALTER TABLE ... ALTER COLUMN SET NOT NULL | ACCESS EXCLUSIVE on public.customers" in page
    assert "| s1 | CREATE INDEX CONCURRENTLY |" in page and "not inside a transaction" in page


def test_a_rendering_tells_the_same_without_a_database(tmp_path: Path) -> None:
    (one,) = render_plan(plan(tmp_path, "drop table a; update b set n = 1"))
    lines = text.step_lines(one, verbose=True)
    assert "      ! ACCESS EXCLUSIVE on a, the tables that a refers to: DROP TABLE" in lines
    assert "      # ROW EXCLUSIVE on b: UPDATE" in lines


def test_a_step_that_only_reads_has_no_impact(diff: Diff, tmp_path: Path) -> None:
    assert diff("select 1")["s0"].impact is None


def test_many_statements_are_shortened_and_the_loud_ones_stay(tmp_path: Path) -> None:
    (step,) = render_plan(plan(tmp_path, "; ".join(f"update t{n} set a = 1" for n in range(30)) + "; drop table t"))
    short = text.step_lines(step)
    assert sum("UPDATE" in line for line in short) == 11 and any("DROP TABLE" in line for line in short)
    assert any("and 19 more statements with weaker locks" in line for line in short)
    assert sum("UPDATE" in line for line in text.step_lines(step, verbose=True)) == 30


def test_loud_is_what_blocks_readers_of_a_table_that_is_there() -> None:
    one = LockedRelation(name="t", mode="ACCESS EXCLUSIVE")
    assert StatementImpact(what="x", locks=(one,)).is_loud
    assert not StatementImpact(what="x", locks=(LockedRelation(name="t", mode="SHARE"),)).is_loud
    assert not StatementImpact(
        what="x", locks=(LockedRelation(name="t", mode="ACCESS EXCLUSIVE", there=False),)
    ).is_loud
    assert not StatementImpact(
        what="x", locks=(LockedRelation(name="t", mode="ACCESS EXCLUSIVE", certain=False),)
    ).is_loud
