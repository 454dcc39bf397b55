"""shadow.loading: the new tables are those of the source, and a failure leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.errors import Interrupted, LockedError, PlanrunError, TargetError
from runner.model import Load, ShadowTable
from runner.refresh import ledger
from runner.refresh.records import MemberRecord
from runner.safesql.templates import Templates
from runner.server import programs
from runner.shadow import loading
from runner.sqltext import ident
from tests import servers
from tests.servers import Server

WIDE = Path(__file__).parents[1] / "cases" / "shadow_load" / "wide.sql"
SHADOW = "planrun_shadow_public"


def ask(db: str, text: str) -> list[dict[str, Any]]:
    with psycopg.connect(db, autocommit=True, row_factory=dict_row) as conn:
        return conn.execute(text.encode()).fetchall()


def run(db: str, *texts: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        for text in texts:
            conn.execute(text.encode())


class Two:
    """A source and a target, and loads from one to the other."""

    def __init__(self, source: str, target: str) -> None:
        self.source, self.target = source, target
        env = {"PLANRUN_SOURCE_URL": source, "PLANRUN_TARGET_URL": target}
        self.connections = Connections({"source": {}, "target": {}}, env)

    def load(
        self,
        *tables: str,
        empty: tuple[str, ...] = (),
        lose: tuple[str, ...] = (),
        run: str = "r1",
        plan: str = "p",
        cancel: Cancel | None = None,
        progress: Callable[[int, int, str, str], None] = lambda done, total, unit, what: None,
    ) -> dict[str, Any]:
        roots = (
            "select relname as name from pg_class where relnamespace = 'public'::regnamespace "
            "and relkind in ('r', 'p') and not relispartition"
        )
        names = tables or tuple(row["name"] for row in ask(self.source, roots))
        live = {row["name"] for row in ask(self.target, roots)}
        version = ask(self.source, "select current_setting('server_version_num')::int / 10000 as major")[0]["major"]
        action = Load(
            source="source",
            connection="target",
            schema="public",
            tables=tuple(ShadowTable(name=name, live=name in live, empty=name in empty) for name in names),
            pg_dump=programs.pg_dump_for(version).tool("pg_dump"),
            lose=lose,
        )
        return loading.load(action, self.connections, run=run, plan=plan, cancel=cancel or Cancel(), progress=progress)

    def refreshes(self) -> tuple[ledger.Refresh, ...]:
        return ledger.read(lambda text: ask(self.target, text))

    def nothing_left(self) -> bool:
        assert self.refreshes() == ()
        schemas = ask(self.target, "select nspname from pg_namespace where starts_with(nspname, 'planrun_shadow')")
        assert schemas == []
        return True


@pytest.fixture
def two(new_db: Callable[[], str]) -> Two:
    return Two(new_db(), new_db())


def content(db: str, schema: str, table: str) -> list[dict[str, Any]]:
    return ask(db, f'select t::text as row from only "{schema}"."{table}" as t order by 1')


def assert_as_in_the_source(two: Two) -> None:
    (refresh,) = two.refreshes()
    assert refresh.state == "loaded"
    tables = [one for one in refresh.members if one.kind == "table"]
    assert all(one.there and one.marked and one.now_schema == SHADOW for one in tables)
    for one in tables:
        assert content(two.source, "public", one.name) == content(two.target, SHADOW, one.name), one.name
        template = Templates((resources.SQL,)).sql
        parts = bool(
            ask(two.source, f"select from pg_class where oid = 'public.{ident(one.name)}'::regclass and relkind = 'p'")
        )
        text = template("refresh/content.sql.j2", schema=SHADOW, name=one.name, parts=parts)
        found = ask(two.target, text)[0]
        assert one.record.rows in (None, found["rows"]), one.name
        assert one.record.checksum in (None, found["checksum"]), one.name


def wide(two: Two) -> None:
    run(two.source, WIDE.read_text())
    run(two.target, WIDE.read_text().split("-- rows")[0])


# ------------------------------------------------------------------ what is made


def test_the_wide_schema_on_each_version(each_version: Server) -> None:
    two = Two(each_version.create("one"), each_version.create("other"))
    wide(two)
    given = two.load()
    assert (given["set"], given["schema"], given["count"]) == ("r1", "public", len(given["tables"]))
    assert_as_in_the_source(two)
    (refresh,) = two.refreshes()
    assert refresh.record.trigger_states == {"wide": {"wide_touch": "A"}, "part": {"part_touch": "O"}}
    assert refresh.record.rule_states == {"empty_one": {"no_delete": "O"}}
    assert {one.name for one in refresh.record.foreign_keys} >= {
        "wide_area_fkey",
        "cycle_a_b_fkey",
        "refers_self_fkey",
    }
    kept = ask(two.target, f"select obj_description('{SHADOW}.wide'::regclass) as comment")
    assert kept == [{"comment": "It's wide; public.wide"}]
    assert ask(two.target, f"select nextval('{SHADOW}.wide_id_seq') as n") == ask(
        two.source, "select nextval('wide_id_seq') as n"
    )
    enabled = ask(
        two.target,
        f"select tgname from pg_trigger t join pg_class c on c.oid = tgrelid "
        f"where relnamespace = '{SHADOW}'::regnamespace and not tgisinternal and tgenabled <> 'D'",
    )
    assert enabled == []


def test_whole_schemas_are_read_at_once_and_what_is_not_loaded_is_left_out(
    each_version: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 200 tables on pg_dump gets the schema instead of their names; here from the first."""
    monkeypatch.setattr("runner.shadow.structure._FEW", 0)
    two = Two(each_version.create("source"), each_version.create("target"))
    run(
        two.source,
        """
        create table a (id serial primary key, t text check (t <> 'x'));
        insert into a (t) values ('one'), ('two');
        create table "B b" (id int references a, day int) partition by range (day);
        create table "B 1" partition of "B b" for values from (0) to (9);
        create index on "B b" (day);
        create table "left.out" (id int primary key); create table "LEFT" (id int references "left.out");
        create sequence alone; create view v as select * from a; create materialized view m as select * from a;
        create index on m (id);
        create function f() returns trigger language plpgsql as 'begin return new; end';
        create trigger t instead of insert on v for each row execute function f();
        create rule r as on delete to v do instead nothing;
        alter view v alter column t set default 'y';
        comment on view v is 'a view'; comment on trigger t on v is 'a trigger'; comment on sequence alone is 'one';
        comment on materialized view m is 'rows'; comment on column a.t is 'text'; comment on table "LEFT" is 'left';
        grant select on v, m, a, "LEFT" to public; grant usage on sequence alone to public;
        create type mood as enum ('ok');
        """,
    )
    result = two.load("a", "B b")
    assert {(one["name"], one["rows"]) for one in result["tables"]} == {("a", 2), ("B b", 0)}
    assert_as_in_the_source(two)
    made = ask(two.target, f"select relname from pg_class where relnamespace = '{SHADOW}'::regnamespace")
    assert {row["relname"] for row in made} >= {"a", "B b", "B 1", "a_id_seq", "a_pkey"}
    assert not {row["relname"] for row in made} & {"v", "m", "alone", "LEFT", "left.out"}


def test_small_tables_of_several_owners_are_filled_together(two: Two, pg_server: Server) -> None:
    names = [f"t{number}" for number in range(60)]
    role = "owner_" + two.target.rpartition("/")[2][-8:].lower().replace("-", "_")
    for name in names:
        run(
            two.source,
            f"create table {name} (id int primary key, t text default current_user); insert into {name} select 1",
        )
        run(two.target, f"create table {name} (id int primary key, t text default current_user)")
    run(two.target, f"create role {ident(role)}; grant create, usage on schema public to {ident(role)}")
    try:
        run(two.target, *(f"alter table {name} owner to {ident(role)}" for name in names[::2]))
        assert two.load()["rows"] == 60
        assert_as_in_the_source(two)
    finally:
        run(two.target, f"drop schema {SHADOW} cascade; drop owned by {ident(role)} cascade; drop role {ident(role)}")


@pytest.mark.parametrize("majors", [(14, 18), (15, 17)], ids=str)
def test_into_a_newer_server(majors: tuple[int, int]) -> None:
    here = servers.servers_here()
    if not set(majors) <= here.keys():
        servers.no_server(f"no PostgreSQL {majors} here")
    with servers.local(here[majors[0]]) as old, servers.local(here[majors[1]]) as new:
        two = Two(old.create("one"), new.create("other"))
        wide(two)
        two.load()
        assert_as_in_the_source(two)


def test_an_older_snapshot_sees_the_rows(two: Two) -> None:
    """Names are looked up by a fresh snapshot, rows by the old one: unfrozen, it would see an empty table."""
    run(two.source, "create table t as select generate_series(1, 1000) as id")
    run(two.target, "create table t (id int)")
    with psycopg.connect(two.target) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select from pg_class limit 1")
        two.load()
        assert reader.execute(f"select count(*) from {SHADOW}.t").fetchone() == (1000,)


def test_views_are_built_on_the_new_tables(two: Two) -> None:
    run(two.source, "create table t as select generate_series(1, 10) as id")
    run(
        two.target,
        "create table t (id int); create view v as select id from t; create materialized view m as select * from v",
    )
    two.load()
    assert ask(two.target, f"select count(*) as n from {SHADOW}.m") == [{"n": 10}]
    (refresh,) = two.refreshes()
    assert {(one.kind, one.name) for one in refresh.members} == {("table", "t"), ("view", "v"), ("matview", "m")}


def test_structure_only(two: Two) -> None:
    run(
        two.source,
        "create table a (id int primary key); create table b (id int references a)",
        "insert into a values (1); insert into b values (1)",
    )
    run(two.target, "create table a (id int); create table b (id int)")
    (measure,) = two.load(empty=("a",))["measures"]
    assert (measure["name"], measure["rows"]) == ("b", 1), "nothing was copied into a"
    assert 19 <= measure["bytes"] <= 60 and 0 < measure["seconds"] < 60
    assert ask(two.target, f"select count(*) as n from {SHADOW}.a") == [{"n": 0}]
    assert ask(two.target, f"select count(*) as n from {SHADOW}.b") == [{"n": 1}]
    assert (
        ask(two.target, f"select conname from pg_constraint where conrelid = '{SHADOW}.b'::regclass and contype = 'f'")
        == []
    )
    (refresh,) = two.refreshes()
    assert [one.name for one in refresh.record.foreign_keys] == ["b_id_fkey"]
    assert [one.record for one in refresh.members if one.name == "a"] == [MemberRecord()]


def test_what_protects_a_new_table_is_kept_beside(two: Two, pg_server: Server) -> None:
    role = "load_reader"
    run(two.source, f"drop role if exists {role}", f"create role {role}")
    try:
        run(
            two.source,
            "create table secret (id serial primary key, owner name)",
            f"grant select (id) on secret to {role}; grant usage on secret_id_seq to {role}",
            f"create policy own on secret to {role} using (owner = current_user)",
            "alter table secret enable row level security, force row level security",
            "create table old (id int); alter table old enable row level security",
        )
        run(two.target, "create table old (id int)")
        two.load()
        (refresh,) = two.refreshes()
        kept = refresh.record.new_protection
        assert kept[0].startswith("ALTER TABLE public.secret OWNER TO ")
        assert f"GRANT SELECT(id) ON TABLE public.secret TO {role}" in kept
        assert f"GRANT USAGE ON SEQUENCE public.secret_id_seq TO {role}" in kept
        assert "ALTER TABLE ONLY public.secret FORCE ROW LEVEL SECURITY" in kept
        assert any(one.startswith("CREATE POLICY own ON public.secret") for one in kept)
        assert not any("old" in one for one in kept)
        run(two.target, *(one.replace("public.", f"{SHADOW}.") for one in kept))
    finally:
        run(two.source, f"drop owned by {role}")
        run(two.target, f"drop owned by {role}")
        run(two.source, f"drop role {role}")


# ------------------------------------------------------------------ what is refused


def test_what_the_tables_need_must_be_there_alike(two: Two) -> None:
    run(two.source, "create type mood as enum ('sad', 'ok'); create domain d as int; create table t (m mood, d d)")
    run(two.target, "create type mood as enum ('sad'); create table t (m mood)")
    with pytest.raises(
        TargetError,
        match=r"public\.d \(the target does not have it\).*\n.*public\.mood \(enum 'sad', 'ok' in the source, ",
    ):
        two.load()
    assert two.nothing_left()


def test_source_and_target_must_differ(two: Two) -> None:
    two = Two(two.target, two.target)
    run(two.target, "create table t (id int)")
    with pytest.raises(TargetError, match="the same database"):
        two.load()
    assert two.nothing_left()


def test_a_schema_of_the_shadows_name_is_not_touched(two: Two) -> None:
    run(two.source, "create table t (id int)")
    run(two.target, f"create table t (id int); create schema {SHADOW}; create table {SHADOW}.mine (id int)")
    with pytest.raises(TargetError, match="planrun did not create it"):
        two.load()
    assert ask(two.target, f"select * from {SHADOW}.mine") == []


def test_rows_that_row_security_hides_are_refused(two: Two) -> None:
    role = "load_limited"
    run(two.source, f"drop role if exists {role}", f"create role {role} login")
    try:
        run(
            two.source,
            "create table t (id int); alter table t enable row level security",
            f"grant select on t to {role}",
        )
        run(two.target, "create table t (id int)")
        limited = Two(psycopg.conninfo.make_conninfo(two.source, user=role), two.target)
        with pytest.raises(TargetError, match="row-level security"):
            limited.load("t")
        assert two.nothing_left()
    finally:
        run(two.source, f"drop owned by {role}", f"drop role {role}")


# ------------------------------------------------------------------ what a failure leaves


def test_a_second_load_replaces_the_first(two: Two) -> None:
    wide(two)
    two.load()
    two.load(run="r2")
    assert [one.id for one in two.refreshes()] == ["r2"]
    assert_as_in_the_source(two)
    with pytest.raises(TargetError, match="of plan p, run r2"):
        two.load(run="r3", plan="another")


def test_what_a_killed_load_left_is_removed_by_the_next(two: Two) -> None:
    run(two.source, "create table t as select 1 as id")
    run(two.target, "create table t (id int); create view v as select id from t")
    two.load()
    run(two.target, "update planrun.refresh set state = 'loading'")
    two.load()
    assert [(one.id, one.state) for one in two.refreshes()] == [("r1", "loaded")]


def test_a_row_that_the_target_refuses_leaves_nothing(two: Two) -> None:
    run(
        two.source,
        "create domain small as int; create table t (id small); insert into t select generate_series(1, 1000)",
    )
    run(two.target, "create domain small as int; create table t (id int)")
    run(two.source, "create table other (id int); insert into other select generate_series(1, 100000)")
    run(
        two.source,
        "create function f(int) returns boolean immutable language sql as 'select true'",
        "alter table other add check (f(id))",
    )
    run(two.target, "create function f(int) returns boolean immutable language sql as 'select $1 < 99999'")
    with pytest.raises(TargetError, match="violates check constraint") as caught:
        two.load()
    assert caught.value.where == "rows of public.other"
    assert two.nothing_left()


def test_ctrl_c_leaves_nothing(two: Two) -> None:
    run(
        two.source,
        "create table t (id int, body text)",
        "insert into t select n, repeat('x', 500) from generate_series(1, 300000) as n",
    )
    run(two.target, "create table t (id int, body text)")
    cancel = Cancel()

    def stop(done: int, total: int, unit: str, what: str) -> None:
        if what.startswith("rows of"):
            cancel.cancel(Interrupted("told to stop", signal=2))

    with pytest.raises(Interrupted):
        two.load(cancel=cancel, progress=stop)
    assert two.nothing_left()


def test_a_source_that_is_cut_leaves_nothing(two: Two, db: str) -> None:
    run(
        two.source,
        "create table t (id int, body text)",
        "insert into t select n, repeat('x', 500) from generate_series(1, 300000) as n",
    )
    run(two.target, "create table t (id int, body text)")
    name = psycopg.conninfo.conninfo_to_dict(two.source)["dbname"]
    cut = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and query like 'copy%'"

    def at_work(done: int, total: int, unit: str, what: str) -> None:
        if what.startswith("rows of"):
            run(db, cut)

    with pytest.raises(TargetError) as caught:
        two.load(progress=at_work)
    assert caught.value.category == "connection"
    assert two.nothing_left()


def test_two_loads_of_one_schema_do_not_meet(two: Two) -> None:
    run(two.source, "create table t as select 1 as id")
    run(two.target, "create table t (id int)")
    told = list[PlanrunError]()

    def second(done: int, total: int, unit: str, what: str) -> None:
        if not told:
            with pytest.raises(LockedError) as caught:
                two.load(run="r2", plan="q")
            told.append(caught.value)

    two.load(progress=second)
    assert "another run is loading schema public" in told[0].message
    assert [one.id for one in two.refreshes()] == ["r1"]


def test_a_live_tablespace_is_kept(two: Two, pg_server: Server) -> None:
    if pg_server.major < 15 or not pg_server.private:
        pytest.skip("needs allow_in_place_tablespaces")
    run(two.source, "create table t (id int primary key)")
    try:
        run(two.target, "set allow_in_place_tablespaces = on", "create table t (id int primary key)")
        with psycopg.connect(two.target, autocommit=True) as conn:
            conn.execute("set allow_in_place_tablespaces = on")
            conn.execute("create tablespace load_space location ''")
            conn.execute("alter table t set tablespace load_space")
            conn.execute("alter index t_pkey set tablespace load_space")
        two.load()
        text = (
            "select relname from pg_class c join pg_tablespace s on s.oid = reltablespace where spcname = 'load_space'"
        )
        found = ask(two.target, f"{text} and relnamespace = '{SHADOW}'::regnamespace order by 1")
        assert [row["relname"] for row in found] == ["t", "t_pkey"]
    finally:
        run(two.target, "drop schema if exists planrun_shadow_public cascade", "drop table t")
        run(two.target, "drop tablespace if exists load_space")


def test_every_expression_and_view_that_does_not_fit_is_told_before_rows_are_copied(two: Two) -> None:
    function = "create function alike(int, int) returns bool language sql immutable as 'select $1 = $2';"
    operator = "create operator === (function = alike, leftarg = int, rightarg = int)"
    run(two.source, function + operator)
    run(two.source, "create table t (a int, b int); create index one on t ((a operator(public.===) b))")
    run(two.source, "create statistics two on (a operator(public.===) b), a from t")
    run(two.target, function + "create table t (a int, b int, c int)")
    with pytest.raises(TargetError) as caught:
        two.load()
    told = caught.value.message
    assert "t (its index one: operator does not exist" in told and "t (its statistics two: operator does not" in told
    run(two.source, "drop index one; drop statistics two")
    run(two.target, "create view v as select c from t; create view over_v as select c from v")
    run(two.target, "create view fits as select a from t; create view w as select b, c from t")
    with pytest.raises(TargetError) as caught:
        two.load()
    assert [line.partition(" does not fit")[0] for line in caught.value.message.splitlines()] == [
        "view public.v",
        "view public.w",
    ]
    assert two.nothing_left()
