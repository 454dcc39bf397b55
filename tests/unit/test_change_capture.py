"""Keeping a table in step by its changed keys: what is noted, what is copied again, and what is left behind."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from runner.cancel import Cancel
from runner.model import Copied, Refill
from runner.refresh import ledger
from runner.refresh.capture import change_capture
from runner.refresh.records import Key, Watched
from runner.shadow import refilling
from runner.sqltext import qualified
from tests.preserved import REFRESH, Conn, Live, keep_writing
from tests.servers import Server


@pytest.fixture
def live(db: str) -> Iterator[Live]:
    with closing(Live(db)) as made:
        yield made


def watch(live: Live, name: str, **more: Any) -> Watched:
    """Install the triggers on a table and let its shadow hold what it holds."""
    one = live.capture_of(name, **more)
    live.sql(f"begin; {change_capture.lock([one])}; {change_capture.install([one], REFRESH)}; commit")
    columns = ", ".join(f'"{column}"' for column in one.columns)
    into = qualified(live.shadow, name)
    live.sql(f"insert into {into} ({columns}) overriding system value select {columns} from {one.sql}")
    return one


def catch_up(live: Live, one: Watched) -> None:
    live.sql(f"begin isolation level repeatable read; {change_capture.catch_up(one, live.shadow, one.name)}; commit")


def noted_keys(live: Live, one: Watched) -> list[Any]:
    names = ", ".join(f"k{n}" for n in range(1, len(one.key) + 1))
    return live.sql(f"select {names}, truncated from {one.journal} order by n")


# ------------------------------------------------------------------ what is noted


def test_keys_are_noted_once_each(live: Live) -> None:
    live.sql("create table t (id int primary key, v text)")
    live.load("t")
    one = watch(live, "t")
    live.sql("insert into t values (1, 'a'), (2, 'b')")
    live.sql("update t set v = 'c' where id = 1")
    live.sql("update t set id = 3 where id = 2")
    live.sql("delete from t where id = 1")
    live.sql("truncate t")
    assert noted_keys(live, one) == [
        (1, False), (2, False), (1, False), (2, False), (3, False), (1, False), (None, True),
    ]  # fmt: skip
    assert live.sql(change_capture.backlog([one])) == [(7 + change_capture.ALL,)]
    catch_up(live, one)
    assert live.sql(change_capture.backlog([one])) == [(0,)]
    assert live.sql(change_capture.backlog([])) == [(0,)]


def test_writers_need_no_right_on_our_schema(live: Live, pg_server: Server) -> None:
    role = f"app_{live.conn.info.dbname}"
    live.sql("create table t (id int primary key, v text)")
    live.load("t")
    one = watch(live, "t")
    live.sql(f"create role {role}; grant select, insert, update, delete, truncate on t to {role}")
    live.sql("revoke all on schema planrun from public")
    try:
        live.sql(
            f"set role {role}; create temp table keys_{one.oid} (n int); set search_path = pg_temp;"
            " insert into public.t values (1), (2); update public.t set v = 'x' where id = 2;"
            " delete from public.t where id = 1; truncate public.t; insert into public.t values (4); reset role;"
            " reset search_path"
        )
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            live.sql(f"set role {role}; select from {one.journal}")
        live.sql("reset role")
        assert len(noted_keys(live, one)) == 6
    finally:
        live.sql(f"reset role; drop owned by {role}; drop role {role}")


def test_replicated_writes_are_noted_too(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    one = watch(live, "t")
    live.sql(
        "set session_replication_role = replica; insert into t values (1); truncate t; reset session_replication_role"
    )
    assert noted_keys(live, one) == [(1, False), (None, True)]


def test_nothing_is_noted_when_the_window_is_over(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    one = live.capture_of("t", window=True)
    live.sql(change_capture.install([one], REFRESH, until="2999-01-01T00:00:00+00:00"))
    live.sql("insert into t values (1)")
    live.sql(change_capture.install([one], REFRESH, until="2001-01-01T00:00:00+00:00"))
    live.sql("insert into t values (2); truncate t")
    assert noted_keys(live, one) == []


def test_what_was_written_when_the_window_was_over_is_missed(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    one = live.capture_of("t", window=True)
    live.sql(change_capture.install([one], REFRESH, until="2999-01-01T00:00:00+00:00"))
    assert live.sql(change_capture.check_unbroken([one], "2999-01-01T00:00:00+00:00")) == []
    assert "window has ended" in str(live.sql(change_capture.check_unbroken([one], "2001-01-01T00:00:00+00:00")))
    live.sql("alter table t disable trigger user")
    assert live.sql(change_capture.check_unbroken([one])) == [("not every change of public.t was recorded",)]


def test_the_window_and_the_next_prepare_do_not_meet(live: Live) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    both = [live.capture_of("t"), live.capture_of("t", window=True)]
    live.sql(change_capture.install(both, REFRESH))
    live.sql("insert into t values (1)")
    assert [noted_keys(live, one) for one in both] == [[(1, False)], [(1, False)]]
    assert live.record().keys == tuple(both)
    live.sql(change_capture.remove(both[1:]))
    live.sql("insert into t values (2)")
    assert noted_keys(live, both[0]) == [(1, False), (2, False)]


def test_rows_that_were_not_committed_when_the_trigger_came_are_waited_for(live: Live, db: str) -> None:
    live.sql("create table t (id int primary key)")
    live.load("t")
    one = live.capture_of("t")
    with psycopg.connect(db) as writer:
        writer.execute("insert into t values (1)")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            live.sql(f"begin; set local lock_timeout = '50ms'; {change_capture.lock([one])}")
        live.sql("rollback")


# ------------------------------------------------------------------ removing


def test_removing_leaves_nothing_whatever_is_left_of_it(live: Live) -> None:
    live.sql("create table t (id int primary key); create table p (id int primary key) partition by range (id)")
    live.sql("create table p1 partition of p for values from (0) to (9)")
    live.load("t", "p")
    both = [live.capture_of("t"), live.capture_of("p")]
    live.sql(change_capture.install(both, REFRESH))
    live.sql(change_capture.install(both, REFRESH))
    assert live.sql(change_capture.silent(both)) == []
    live.sql("alter table t rename to backup_t; create table t (id int primary key)")
    assert live.sql(change_capture.silent(both)) == [("public.t",)]  # another table by now
    live.sql(f"drop table {both[1].journal}")
    assert live.sql(change_capture.silent(both)) == [("public.p",), ("public.t",)]
    for _ in range(2):
        live.sql(change_capture.remove(both))
        assert live.sql("select tgname from pg_trigger where starts_with(tgname::text, 'planrun')") == []
        assert live.sql("select proname from pg_proc where pronamespace = 'planrun'::regnamespace") == []
        assert live.sql("select relname from pg_class where starts_with(relname::text, 'keys_')") == []
    assert live.sql(change_capture.silent(both)) == [("public.p",), ("public.t",)]
    assert live.sql(change_capture.silent([])) == []


@pytest.mark.parametrize(
    "text",
    ["alter table p disable trigger user", "alter table p1 disable trigger user", "drop trigger {0} on p1"],
)
def test_a_trigger_that_does_not_fire_is_noticed(live: Live, text: str) -> None:
    live.sql("create table p (id int primary key) partition by range (id)")
    live.sql("create table p1 partition of p for values from (0) to (9)")
    live.load("p")
    one = live.capture_of("p")
    live.sql(change_capture.install([one], REFRESH))
    assert live.sql(change_capture.silent([one])) == []
    live.sql(text.format(one.triggers[1]))
    assert live.sql(change_capture.silent([one])) == [("public.p",)]


# ------------------------------------------------------------------ what is copied again

TABLES = {
    "names": (
        'create table "a ""$planrun$" ("I d" int, "%s" text, n int generated always as ("I d" * 2) stored, '
        'truncated int, primary key ("I d", "%s"))',
        'a "$planrun$',
        [
            """insert into "a ""$planrun$" values (1, 'x'), (2, 'y')""",
            """update "a ""$planrun$" set "%s" = 'z', truncated = 1 where "I d" = 1""",
        ],
    ),
    "identity": (
        "create table t (id int generated always as identity primary key, v text)",
        "t",
        ["insert into t (v) values ('a'), ('b')", "update t set v = null where id = 1", "delete from t where id = 2"],
    ),
    "null to value in a unique column": (
        "create table t (id int primary key, u int unique)",
        "t",
        ["insert into t values (1, 1), (2, 2)", "update t set u = null", "update t set u = 3 - id"],
    ),
    "unique values that change places, one at a time": (
        "create table t (id int primary key, u int unique)",
        "t",
        [
            "insert into t select g, g from generate_series(1, 50) g",
            "begin; update t set u = -u; update t set u = 51 + u; commit",
        ],
    ),
    "deferred": (
        "create table t (id int primary key deferrable initially deferred, u int unique deferrable initially deferred)",
        "t",
        [
            "insert into t select g, g from generate_series(1, 20) g",
            "update t set id = 21 - id, u = id % 20",
            "begin; update t set id = 5 where id = 4; update t set id = 4 where u = 16 and id = 5; commit",
        ],
    ),
    "no primary key, a unique index": (
        "create table t (a int not null, b text not null, c text); create unique index on t (b, a) include (c)",
        "t",
        ["insert into t values (1, 'x', 'c'), (2, 'x', null)", "update t set b = 'y' where a = 2",
         "delete from t where a = 1"],
    ),
    "numbers that are equal and look different": (
        "create table t (id numeric primary key)",
        "t",
        ["insert into t values (1.0), (2)", "update t set id = 1.00 where id = 1",
         "update t set id = 2.000 where id = 2"],
    ),
    "a domain, a length": (
        "create domain d as varchar(5) check (value <> 'bad'); create table t (a d, b char(3), primary key (a, b))",
        "t",
        ["insert into t values ('a', 'b'), ('c', 'd')", "update t set b = 'bb' where a = 'a'"],
    ),
    "partitions": (
        "create table t (id int, r int, v text, primary key (r, id)) partition by range (r);"
        "create table t1 partition of t for values from (0) to (10);"
        "create table t2 partition of t for values from (10) to (20) partition by range (id);"
        "create table t21 partition of t2 default",
        "t",
        [
            "insert into t select g, g % 20, g from generate_series(1, 99) g",
            "update t set r = (r + 10) % 20 where id < 30",
            "delete from t1 where id = 50",
            "truncate t1",
            "insert into t1 values (1000, 1)",
            "truncate t2; insert into t2 values (1001, 11)",
            "truncate t21",
        ],
    ),
    "enum and timestamp": (
        "create type e as enum ('b', 'a'); create table t (a e, b timestamptz, primary key (b, a))",
        "t",
        ["insert into t values ('a', '2020-01-01'), ('b', '-infinity')", "update t set a = 'a' where a = 'b'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_after_each_step_the_shadow_holds_what_the_table_holds(live: Live, case: str) -> None:
    make, name, steps = TABLES[case]
    live.sql(make)
    live.load(name)
    one = watch(live, name)
    for step in steps:
        live.sql(step)
        catch_up(live, one)
        assert live.differing_tables(name) == []
        assert live.sql(change_capture.backlog([one])) == [(0,)]
    assert live.rows_of(name) == live.sql(f"select count(*) from {one.sql}")[0][0]


def test_all_at_once_is_the_same(live: Live) -> None:
    for case in ("partitions", "unique values that change places, one at a time", "deferred"):
        make, name, steps = TABLES[case]
        live.sql("drop schema public cascade; create schema public; drop schema if exists planrun cascade")
        live.sql(f"drop schema if exists {live.shadow} cascade")
        live.sql(make)
        live.load(name)
        one = watch(live, name)
        live.sql("; ".join(step for step in steps if "begin" not in step))
        catch_up(live, one)
        assert live.differing_tables(name) == []


def test_keys_that_ignore_case(live: Live) -> None:
    """citext has its `=` outside pg_catalog: found by search_path it would be that of text, or none."""
    live.sql("create schema ext; create extension citext schema ext")
    live.sql("create table t (id ext.citext primary key, v int)")
    live.load("t")
    one = watch(live, "t")
    assert one.key == (Key("id", "ext.citext", "operator(ext.=)"),)
    for step in (
        "insert into t values ('A'), ('b')",
        "update t set id = 'a' where v is null and id::text = 'A'",
        "delete from t where id::text = 'a'; insert into t values ('A')",
        "update t set id = 'B', v = 1 where id::text = 'b'",
    ):
        live.sql(step)
        catch_up(live, one)
        assert live.differing_tables("t") == []


def test_the_key_keeps_its_collation(live: Live) -> None:
    live.sql('create table t (id text collate "POSIX" primary key)')
    live.load("t")
    one = watch(live, "t")
    assert one.key[0].type == 'text COLLATE pg_catalog."POSIX"'.replace("COLLATE", "collate")
    live.sql("insert into t values ('a')")
    catch_up(live, one)
    assert live.differing_tables("t") == []


def test_a_column_that_is_generated_on_one_side(live: Live) -> None:
    """What the live table computes and the new one holds is copied; what the new one computes is not."""
    live.sql("create table t (id int primary key, a int, b int generated always as (a + 1) stored)")
    live.sql(
        "create schema planrun_shadow_public; create table planrun_shadow_public.t (id int primary key, b int, "
        "a int, c int generated always as (b * 2) stored, d text not null default 'd')"
    )
    live.load("t", make=False)
    one = watch(live, "t")
    assert one.columns == ("id", "b", "a")
    live.sql("insert into t values (1, 1)")
    catch_up(live, one)
    assert live.sql("select * from planrun_shadow_public.t") == [(1, 2, 1, 4, "d")]


def test_triggers_and_rules_of_the_new_table_sleep(each_version: Server) -> None:
    """As an ordinary owner, on every version: clones on partitions follow their root."""
    each_version.create("live")
    with each_version.admin() as admin:
        admin.execute("create role plain login; grant create on database live to plain")
    live = Live(each_version.conninfo("live", user="plain"), schema="app")
    live.sql("create schema app; create schema planrun_shadow_app")
    for schema in ("app", live.shadow):
        live.sql(
            f"create table {schema}.t (id int primary key, v text) partition by range (id);"
            f"create table {schema}.t1 partition of {schema}.t for values from (0) to (100);"
            f"create function {schema}.f() returns trigger language plpgsql"
            " as 'begin new.v := ''changed''; return new; end'"
        )
    live.sql(
        f"create trigger a before insert on {live.shadow}.t for each row execute function {live.shadow}.f();"
        f"create trigger b before insert on {live.shadow}.t1 for each row execute function {live.shadow}.f();"
        f"alter table {live.shadow}.t1 enable replica trigger b;"
        f"create trigger c before update on {live.shadow}.t for each row execute function {live.shadow}.f();"
        f"alter table {live.shadow}.t disable trigger c;"
        f"create rule r as on insert to {live.shadow}.t where new.id = 2 do instead nothing"
    )
    state = f"""
        select tgrelid::regclass::text, tgname, tgenabled from pg_trigger where tgrelid in ('{live.shadow}.t'::regclass,
        '{live.shadow}.t1'::regclass) union all select ev_class::regclass::text, rulename, ev_enabled from pg_rewrite
        where ev_class = '{live.shadow}.t'::regclass order by 1, 2"""
    before = live.sql(state)
    live.load("t", make=False)
    one = live.capture_of("t")
    live.sql(change_capture.install([one], REFRESH))
    live.sql("insert into app.t values (1, 'a'), (2, 'b')")
    catch_up(live, one)
    assert live.differing_tables("t") == []
    assert live.sql(state) == before
    live.conn.close()


def test_the_ledger_is_told(live: Live) -> None:
    live.sql("create table t (id int primary key); insert into t select generate_series(1, 5)")
    live.load("t", about={"xids": ("7",)})
    one = live.capture_of("t")
    live.sql(change_capture.install([one], REFRESH))
    live.sql("truncate t; insert into t select generate_series(1, 3)")
    catch_up(live, one)
    catch_up(live, one)  # nothing to do: nothing is recorded
    live.sql("delete from t where id = 1")
    catch_up(live, one)
    assert live.rows_of("t") == 2
    [refresh] = ledger.read(live.ask)
    xids = refresh.record.xids
    assert len(xids) == 3 and xids[0] == "7"
    mine = {int(xid) % 2**32 for xid in xids[1:]}
    assert {int(x) for (x,) in live.sql("select xmin::text from planrun_shadow_public.t")} <= mine


def test_tables_are_caught_up_side_by_side(live: Live, db: str) -> None:
    """Two transactions in REPEATABLE READ write no row of the ledger both: the second would fail (40001)."""
    live.sql("create table t (id int primary key); create table u (id int primary key)")
    live.load("t", "u")
    both = [live.capture_of("t"), live.capture_of("u")]
    live.sql(change_capture.install(both, REFRESH))
    live.sql("insert into t values (1); insert into u values (1)")
    with closing(Live(db)) as other:
        other.sql("set lock_timeout = '1s'")
        for session, one in zip((live, other), both, strict=True):
            session.sql("begin isolation level repeatable read")
            session.sql(change_capture.catch_up(one, live.shadow, one.name))
        live.sql("commit")
        other.sql("commit")
    assert [live.differing_tables(one.name) for one in both] == [[], []]
    [refresh] = ledger.read(live.ask)
    wrote = {x for t in "tu" for (x,) in live.sql(f"select xmin::text from {live.shadow}.{t}")}
    assert {str(int(xid) % 2**32) for xid in refresh.record.xids} == wrote


def test_keys_that_are_noted_meanwhile_stay(live: Live, db: str) -> None:
    live.sql("create table t (id int primary key); insert into t values (1)")
    live.load("t")
    one = watch(live, "t")
    live.sql("insert into t values (2)")
    live.sql("begin isolation level repeatable read; select 1")
    with psycopg.connect(db, autocommit=True) as writer:
        writer.execute("insert into t values (3)")
        writer.execute("update t set id = 20 where id = 2")
    live.sql(f"{change_capture.catch_up(one, live.shadow, 't')}; commit")
    assert sorted(live.sql(f"select id from {live.shadow}.t")) == [(1,), (2,)]
    catch_up(live, one)
    assert live.differing_tables("t") == []


def test_a_table_that_is_truncated_behind_the_snapshot(live: Live, db: str) -> None:
    """TRUNCATE shows in old snapshots at once, its mark does not: the next time puts it right."""
    live.sql("create table t (id int primary key); insert into t select generate_series(1, 9)")
    live.load("t")
    one = watch(live, "t")
    live.sql("update t set id = id + 100")
    live.sql("begin isolation level repeatable read; select 1")
    with psycopg.connect(db, autocommit=True) as writer:
        writer.execute("truncate t")
        writer.execute("insert into t values (5)")
    live.sql(f"{change_capture.catch_up(one, live.shadow, 't')}; commit")
    catch_up(live, one)
    assert live.differing_tables("t") == []


# ------------------------------------------------------------------ under fire

SECONDS = 3.0


def test_no_row_differs_after_writers_that_never_stopped(live: Live, db: str) -> None:
    fire(live, db, SECONDS)


def fire(live: Live, db: str, seconds: float, seed: int = 0) -> None:
    """Insert, update (also keys and unique values), delete and truncate, while all is copied and caught up."""
    live.sql("create table t (a int, b int, u int unique, v text, primary key (a, b))")
    live.sql("create table p (id int primary key, v text) partition by range (id)")
    live.sql("create table p1 partition of p for values from (0) to (200)")
    live.sql("create table p2 partition of p default")
    live.sql("insert into t select g, g % 7, g, 'x' from generate_series(1, 3000) g")
    live.sql("insert into p select g, 'x' from generate_series(1, 400) g")
    live.load("t")
    live.sql(f"create table {live.shadow}.p (like p including all) partition by range (id)")
    live.sql(f"create table {live.shadow}.p1 partition of {live.shadow}.p for values from (0) to (200)")
    live.sql(f"create table {live.shadow}.p2 partition of {live.shadow}.p default")
    both = [live.capture_of("t"), live.capture_of("p")]
    with keep_writing(db, _inserts, _updates, _swaps, _deletes, _parts, _truncates, seed=seed) as errors:
        time.sleep(0.2)
        live.sql(f"begin; {change_capture.lock(both)}; {change_capture.install(both, REFRESH)}; commit")
        tables = (_copy_action(live, both[0], ", freeze", "only "), _copy_action(live, both[1], "", ""))
        refilling.refill(Refill(connection="", tables=tables), live.connections, cancel=Cancel(), progress=_silent)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not errors:
            text = "; ".join(change_capture.catch_up(one, live.shadow, one.name) for one in both)
            live.sql(f"begin isolation level repeatable read; {text}; commit")
            time.sleep(0.02)
        live.sql("begin; lock table t, p in access exclusive mode")
        live.sql("; ".join(change_capture.catch_up(one, live.shadow, one.name) for one in both))
        differing_tables = [live.differing_tables(one.name) for one in both]
        counts = [live.sql(f"select count(*) from {one.sql}")[0][0] for one in both]
        recorded = [live.rows_of("t")]
        live.sql("commit")
    assert errors == []
    assert differing_tables == [[], []]
    assert recorded == counts[:1]
    assert counts[0] or counts[1]


def _silent(*_: Any) -> None:
    pass


def _copy_action(live: Live, one: Watched, freeze: str, only: str) -> Copied:
    into = f"{live.shadow}.{one.name}"
    columns = ", ".join(one.columns)
    return Copied(
        schema="public",
        name=one.name,
        first=f"truncate {into}",
        out=f"copy (select {columns} from {only}{one.sql}) to stdout (format binary)",
        into=f"copy {into} ({columns}) from stdin (format binary{freeze})",
        after=change_capture.record_rows(REFRESH, live.oid(live.shadow, one.name), "{rows}"),
    )


def _inserts(conn: Conn, chance: random.Random) -> None:
    n = chance.randrange(10_000)
    conn.execute("insert into t values (%s, %s, %s, 'new') on conflict do nothing", (n, n % 7, n))


def _updates(conn: Conn, chance: random.Random) -> None:
    with conn.transaction():
        row = conn.execute("select a, b from t where a >= %s limit 1 for update skip locked", (chance.randrange(3000),))
        if found := row.fetchone():
            conn.execute("update t set v = %s where a = %s and b = %s", (str(chance.random()), *found))
            new = chance.randrange(10_000, 10**9)
            conn.execute("update t set a = %s, u = %s where a = %s and b = %s", (new, new, *found))


def _swaps(conn: Conn, chance: random.Random) -> None:
    """Two rows exchange the values of a unique column."""
    with conn.transaction():
        rows = conn.execute("select a, b, u from t where u is not null limit 2 for update skip locked").fetchall()
        if len(rows) == 2:
            (a1, b1, u1), (a2, b2, u2) = rows
            conn.execute("update t set u = null where a = %s and b = %s", (a1, b1))
            conn.execute("update t set u = %s where a = %s and b = %s", (u1, a2, b2))
            conn.execute("update t set u = %s where a = %s and b = %s", (u2, a1, b1))


def _deletes(conn: Conn, chance: random.Random) -> None:
    with conn.transaction():
        conn.execute(
            "delete from t where (a, b) in (select a, b from t where a >= %s limit 3 for update skip locked)",
            (chance.randrange(3000),),
        )
        if chance.random() < 0.3:
            raise psycopg.Rollback


def _parts(conn: Conn, chance: random.Random) -> None:
    n = chance.randrange(400)
    conn.execute("insert into p values (%s, 'new') on conflict (id) do update set v = 'again'", (n,))
    conn.execute(
        "update p set id = 1000 + id where id = %s and not exists (select from p where id = %s)", (n, 1000 + n)
    )
    conn.execute("delete from p where id > 1000 and id < %s", (1000 + chance.randrange(100),))


def _truncates(conn: Conn, chance: random.Random) -> None:
    table = chance.choice(["t", "p", "p1", "p2"])
    conn.execute(f"truncate {table}".encode())
    if table == "t":
        conn.execute(
            "insert into t select g, g %% 7, g, 'x' from generate_series(1, 3000) g on conflict do nothing", ()
        )
    time.sleep(chance.random() * 0.6)
