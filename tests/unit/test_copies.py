"""A scratch copy: the same structure, rows that fit together, no rights to speak of, and nothing left of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runner import api
from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError
from runner.model import Plan
from runner.scratch import structure
from runner.scratch.copies import ScratchCopies, scratch_copies
from runner.scratch.rows import Rows
from tests import catalogs
from tests.servers import Server

WIDE = Path(__file__).parents[1] / "wide.sql"
LINKED = """
create table customers (id int primary key, boss int references customers);
create table orders (id int primary key, customer int references customers);
create table "Order Lines" (a int, b int, "Order" int references orders, primary key (a, b));
create table notes (line_a int, line_b int, text text,
    foreign key (line_a, line_b) references "Order Lines" deferrable initially deferred);
insert into customers select i, nullif(i - 1, 0) from generate_series(1, 40) i;
insert into orders select i, 41 - i from generate_series(1, 40) i;
insert into "Order Lines" select i, i, 41 - i from generate_series(1, 40) i;
insert into notes select 41 - i, 41 - i, 'n' from generate_series(1, 40) i;
create view big as select * from orders;
"""


def words_of(db: str) -> dict[str, str]:
    return {word: str(value) for word, value in conninfo_to_dict(db).items()}


def run(db: str, *texts: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        for text in texts:
            conn.execute(text.encode())


def ask(words: object, text: str) -> list[tuple[object, ...]]:
    with psycopg.connect(make_conninfo("", **words)) as conn:  # type: ignore[arg-type]
        return conn.execute(text.encode()).fetchall()


def plan_of(folder: Path, db: str, *, also: str = "") -> tuple[Plan, dict[str, str]]:
    """Return a plan with connection target, and source when there is another database."""
    env = {"PLANRUN_TARGET_URL": db, "PATH": os.environ["PATH"]} | ({"PLANRUN_SOURCE_URL": also} if also else {})
    source = "source: {}, " if also else ""
    text = f"name: p\nconnections: {{{source}target: {{}}}}\nsteps: [{{id: a, uses: sql, with: {{text: select 1}}}}]\n"
    (folder / "p.yml").write_text(text)
    return api.load_plan(folder / "p.yml", env=env), env


Copy = Callable[..., ScratchCopies]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    """Make copies that last as long as the test."""
    with contextlib.ExitStack() as stack:

        def made(
            db: str, rows: Rows = Rows.NONE, number: int = 5, *, also: str = "", server: str = ""
        ) -> ScratchCopies:
            plan, env = plan_of(tmp_path, db, also=also)
            words = words_of(server) if server else None
            return stack.enter_context(
                scratch_copies(plan, env, rows=rows, number=number, server=words, cancel=Cancel())
            )

        yield made


def test_a_wide_schema_comes_over_whole_and_runs_without_rights(db: str, copy: Copy) -> None:
    run(db, WIDE.read_text())
    run(db, "create function spy(int) returns bool language plpgsql as $$ begin "
            "return current_setting('is_superuser') = 'off'; end $$")  # fmt: skip
    run(
        db,
        "create table spied (n int)",
        "insert into spied values (1)",
        "alter table spied add check (spy(n)) not valid",
    )
    made = copy(db, Rows.ALL)
    one = made.copies[0]
    assert {str(each).partition(":")[0] for each in one.left_out} <= {
        "event trigger notes_ddl", "event trigger notes_drops",
        "publication tables in schema reporting.of_schemas reporting",
    }  # fmt: skip
    there = make_conninfo("", **one.reader)
    lost = (
        "EVENT TRIGGER -.notes_ddl",
        "EVENT TRIGGER -.notes_drops",
        "PUBLICATION TABLES IN SCHEMA reporting.of_schemas reporting",
        "ACL -.SCHEMA public",
        "ACL -.SCHEMA reporting",
    )
    assert catalogs.difference(catalogs.catalog(db), catalogs.catalog(there), lost) == ""
    differ = catalogs.differing_tables(catalogs.contents(db), catalogs.contents(there))
    assert differ == [], "the check was called as nobody"
    sequences = "select schemaname, sequencename, last_value from pg_sequences order by 1, 2"
    assert ask(one.reader, sequences) == ask(words_of(db), sequences)
    assert ask(made.words["target"], "select current_user::text, current_setting('is_superuser')") == [
        (words_of(db)["user"], "off")
    ]
    for text in ("copy (select 1) to program 'true'", "select pg_read_file('/etc/passwd')", "create role x superuser"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(made.words["target"], text)
    roles = "select rolname::text from pg_roles where rolsuper"
    assert [str(name).startswith("planrun_server_") for (name,) in ask(made.words["target"], roles)] == [True]


def test_a_sample_has_the_rows_that_its_keys_name(db: str, copy: Copy) -> None:
    run(db, LINKED, "create table p (id int primary key)", "create table c (p int)", "insert into c values (1), (2)")
    run(db, "insert into p values (1)", "alter table c add foreign key (p) references p not valid")
    name = words_of(db)["dbname"]
    run(
        db,
        f"alter database {name} set search_path = 'Odd \"Schema', public; alter database {name} set work_mem = '9MB'",
    )
    run(db, f"alter role postgres in database {name} set datestyle = 'German'; alter database {name} set jit = off")
    run(db, f"alter database {name} set default_transaction_read_only = on")
    made = copy(db, Rows.SAMPLE, 3, also=db)
    (one,) = made.copies
    settings = "select current_setting('search_path'), current_setting('work_mem'), current_setting('datestyle')"
    assert ask(made.words["target"], settings) == [('"Odd ""Schema", public', "9MB", "German, DMY")]
    assert one.connections == ("target", "source") and made.words["target"] == made.words["source"], "one database"
    assert [str(each) for each in one.left_out] == ["1 rows of public.c: their rows of public.p were not found"]
    counted = {name: ask(one.reader, f'select count(*) from "{name}"')[0][0] for name in
               ("customers", "orders", "Order Lines", "notes", "p", "c")}  # fmt: skip
    # notes 40, 39, 38 -> lines 38..40 and the first three -> their orders -> customers, and all that are above these
    assert counted == {"notes": 3, "Order Lines": 6, "orders": 6, "customers": 40, "p": 1, "c": 1}
    assert ask(one.reader, "select count(*) from pg_constraint where contype = 'f' and convalidated") == [(4,)]
    assert ask(one.reader, "select min(id), max(id) from orders") == [(1, 40)]


def test_what_is_missing_is_named_with_what_rests_on_it(db: str, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    run(db, "create schema ext", "create extension citext schema ext")
    run(
        db, "create table shops (name ext.citext primary key)", "create table visits (shop ext.citext references shops)"
    )
    run(db, "create table plain (n int)", "create view names as select name from shops")
    run(db, "create table closed (n int)", "insert into plain values (1)")
    run(db, "do $$ begin create role planrun_test_looker login; exception when duplicate_object then null; end $$")
    run(
        db,
        "grant select on plain, shops, visits to planrun_test_looker; grant usage on schema ext to planrun_test_looker",
    )
    monkeypatch.setattr(structure, "_AVAILABLE", "select 'plpgsql' as name")
    made = copy(make_conninfo(db, user="planrun_test_looker"), Rows.ALL)
    told = {one.what: one.reason for one in made.copies[0].left_out}
    assert "does not have it" in told["extension citext"]
    assert {"table public.shops", "table public.visits", "view public.names"} <= told.keys()
    assert told["table public.closed"] == "planrun_test_looker may not read it"
    tables = "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    assert ask(made.copies[0].reader, tables) == [("plain",)] and made.copies[0].rows == 1


def databases(server: Server) -> list[str]:
    with server.admin() as conn:
        text = "select datname from pg_database where datname ^@ 'planrun_scratch_' union all "
        text += "select rolname from pg_roles where rolname ^@ 'planrun_scratch_'"
        return [str(name) for (name,) in conn.execute(text.encode()).fetchall()]


def test_a_named_server_loses_what_was_made_on_it_when_it_is_stopped(
    db: str, pg_server: Server, tmp_path: Path
) -> None:
    run(db, "create table t (n int)")
    plan, env = plan_of(tmp_path, db)
    cancel, server = Cancel(), words_of(pg_server.conninfo())
    with pytest.raises(Interrupted), scratch_copies(plan, env, server=server, cancel=cancel) as made:
        assert len(databases(pg_server)) == 2 and not made.copies[0].private
        assert ask(made.words["target"], "select current_setting('is_superuser'), count(*) from t") == [("off", 0)]
        cancel.cancel(Interrupted("stop", signal=2))
        cancel.check()
    assert databases(pg_server) == []


KILLED = """
import sys, time
from tests.unit.test_copies import *
plan, env = plan_of(Path(sys.argv[1]), sys.argv[2])
server = words_of(sys.argv[3])
with scratch_copies(plan, env, rows=Rows.ALL, server=server, cancel=Cancel()) as made:
    print("there", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def running(folder: Path, db: str, server: str) -> Iterator[None]:
    """Make a copy in another process, and kill that at the end."""
    argv = [sys.executable, "-c", KILLED, str(folder), db, server]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "there\n"
        yield
        process.send_signal(signal.SIGKILL)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


def test_the_next_one_drops_what_a_killed_one_left_on_a_named_server(
    db: str, tmp_path: Path, pg_server: Server
) -> None:
    plan, env = plan_of(tmp_path, db)
    said = list[str]()
    server = words_of(pg_server.conninfo())

    def rehearse() -> list[str]:
        with scratch_copies(plan, env, server=server, cancel=Cancel(), say=said.append):
            there = databases(pg_server)
        return there

    with running(tmp_path, db, pg_server.conninfo()):
        assert len(rehearse()) == 4  # those of a rehearsal that lives stay
    until(lambda: len(rehearse()) == 2)
    assert databases(pg_server) == []
    assert sum(one.startswith("dropping database planrun_scratch_") for one in said) == 1


def test_a_role_that_may_use_the_server_s_files_is_refused(db: str, tmp_path: Path, pg_server: Server) -> None:
    run(
        db,
        "do $$ begin create role planrun_test_mighty login createdb; exception when duplicate_object then null; end $$",
    )
    run(db, "grant pg_read_server_files to planrun_test_mighty")
    plan, env = plan_of(tmp_path, db)
    with (
        pytest.raises(TargetError, match="may use files"),
        scratch_copies(plan, env, server=words_of(pg_server.conninfo(user="planrun_test_mighty")), cancel=Cancel()),
    ):
        pass


@pytest.mark.parametrize("seed", range(20 if os.environ.get("PLANRUN_REHEARSALS") else 1))
def test_any_sample_keeps_its_foreign_keys(seed: int, db: str, copy: Copy, pg_server: Server) -> None:
    """Tables that refer to each other in any way, in circles and to themselves, by two columns, with nulls."""
    chance = random.Random(seed)
    count, rows = chance.randint(2, 5), chance.randint(3, 60)
    for number in range(count):
        run(db, f"create table t{number} (a int, b int, primary key (a, b))")
        run(db, f"insert into t{number} select i, i % 3 from generate_series(1, {rows}) i")
    for number in range(count):
        for place in range(chance.randint(0, 3)):
            other = chance.randrange(count)
            run(db, f"alter table t{number} add x{place} int, add y{place} int")
            shift = chance.randint(0, rows)
            value = f"1 + (a * {chance.choice([1, 7, 11])} + {shift}) % {rows}"
            run(db, f"update t{number} set x{place} = {value} where a % {chance.randint(2, 4)} <> 0")
            run(db, f"update t{number} set y{place} = x{place} % 3")
            run(db, f"alter table t{number} add foreign key (x{place}, y{place}) references t{other}")
    (one,) = copy(db, Rows.SAMPLE, chance.randint(1, 5), server=pg_server.conninfo()).copies
    assert [each.what for each in one.left_out] == ["owners, roles and grants"]
    valid = "select count(*) from pg_constraint where contype = 'f' and convalidated"
    assert ask(one.reader, valid) == ask(words_of(db), valid)
    assert one.rows >= count
