"""A diff from a catalog file says what a diff of the database said, or that it is not known; and no file is trusted.

PLANRUN_CATALOG_VERSIONS=1 takes the wide schema from every PostgreSQL of this machine, and not only from the newest.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import load_plan
from runner.cancel import Cancel
from runner.catalogfile import record, taking
from runner.catalogfile.private import PrivateDatabase, private_database
from runner.errors import TargetError
from runner.server import programs
from tests import servers
from tests.catalogs import catalog, difference
from tests.commandline import connect_to
from tests.refreshes import WIDE, Pair
from tests.servers import Server

ROLE = "catalog_app"
ONE = "connections: {target: {}}\nsteps: [{id: a, uses: query, with: {text: select 1 as n}}]\n"
REFRESH = """
name: refresh
connections: {source: {}, target: {}}
steps:
  - id: prepare
    steps:
      - {id: load, uses: shadow_load, with: {from: source, schema: Shop}}
      - {id: sync, uses: shadow_sync, with: {tables: [Users]}}
      - {id: check, uses: shadow_verify}
  - {id: cleanup, when: prepare.ok, on_error: warn, uses: drop_backup_set}
  - {id: swap, when: prepare.ok, uses: swap_tables, with: {rollback_window: 1h}}
rollback:
  - {id: back, uses: swap_back}
"""
SHOP = """
create schema "Shop";
create table "Shop"."Users" (id int generated always as identity primary key, email text unique);
create table "Shop"."Orders" (
    id int primary key, "user" int references "Shop"."Users", total numeric check (total >= 0)
);
create view "Shop".totals as select "user", sum(total) as total from "Shop"."Orders" group by 1;
insert into "Shop"."Users" (email) select 'u' || n from generate_series(1, 50) n;
insert into "Shop"."Orders" select n, 1 + n % 50, n from generate_series(1, 300) n;
analyze;
"""


def taken(db: str, tmp_path: Path) -> record.DatabaseFacts:
    """Take the catalog of a database, write it, and read it."""
    (tmp_path / "p.yml").write_text(ONE)
    env = {**os.environ, "PLANRUN_TARGET_URL": db}
    record.write(taking.take(load_plan(tmp_path / "p.yml"), env, Cancel()), str(tmp_path / "c.json"))
    (facts,) = record.read(str(tmp_path / "c.json")).databases
    return facts


def conninfo(found: PrivateDatabase) -> str:
    return psycopg.conninfo.make_conninfo(**found.words)


# ------------------------------------------------------------------ the same database


def versions() -> list[int]:
    known = sorted(servers.servers_here()) or [0]
    return known if os.environ.get("PLANRUN_CATALOG_VERSIONS") else known[-1:]


@pytest.mark.parametrize("major", versions())
def test_the_database_that_is_made_of_a_file_is_the_same(major: int, tmp_path: Path) -> None:
    with servers.local(servers.servers_here()[major]) as server:
        db = server.create("wide")
        with connect_to(db) as conn:
            conn.execute(WIDE.read_bytes())
            conn.execute("analyze")
        facts = taken(db, tmp_path)
        with private_database(facts, os.environ, Cancel()) as found:
            assert found.version.split(".")[0] == str(major) == str(facts.major)
            left = difference(_plain(db), _plain(conninfo(found)))
            keys = set(re.findall(r"^\S.*", left, re.MULTILINE))
            if major < 15:  # where schema public belongs to whom initdb made a superuser
                keys -= {"ACL -.SCHEMA public"}
            assert all(key.startswith(("EVENT TRIGGER ", "PUBLICATION TABLES IN SCHEMA ")) for key in keys), left
            named = [one.partition(" ")[0] for one in found.left]
            assert len(found.left) == len(keys) and set(named) <= {"event", "publication"}, "each is named"
            with connect_to(conninfo(found)) as conn:
                row = conn.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
                assert row == (False,), "whoever looks is no superuser there"
                told = "select sum(pg_total_relation_size(oid)) from pg_class where relkind in ('r', 'm')"
                assert conn.execute(told).fetchone() == (sum(one.bytes for one in facts.sizes),)


def _plain(db: str) -> dict[str, str]:
    """Return the catalog without comments and without what stands in functions."""
    found = catalog(db, whole=True)
    bodies = {key: re.sub(r" AS (\$\w*\$).*", "", text, flags=re.DOTALL) for key, text in found.items()}
    return {key: text for key, text in bodies.items() if not key.startswith("COMMENT ") and "planrun_sizes" not in key}


# ------------------------------------------------------------------ the same diff


@pytest.fixture
def pair(pg_server: Server, new_db: Callable[[], str], tmp_path: Path) -> Iterator[Pair]:
    """Two databases of a role that is no superuser."""
    with pg_server.admin() as conn:
        if conn.execute("select from pg_roles where rolname = %s", [ROLE]).fetchone() is None:
            conn.execute(f"create role {ROLE} login")
    urls = [new_db(), new_db()]
    with pg_server.admin() as conn:
        for url in urls:
            name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
            conn.execute(f'alter database "{name}" owner to {ROLE}')
    source, target = (psycopg.conninfo.make_conninfo(url, user=ROLE) for url in urls)
    yield Pair(tmp_path, source, target, REFRESH)


def _alike(out: str) -> str:
    """Return a diff without what must differ: where it was made, and how long ago and how long something was."""
    text = re.sub(r"^(target|source): .*\n|^  # rows and sizes .*\n|^ *# took .*\n", "", out, flags=re.MULTILINE)
    text = re.sub(r"\babout (?=\d)|made .* ago|for another .*", "", text)
    # locks are taken in the order of OIDs, which is another one
    return re.sub(r'(?<= on )"Shop"[^:]*(?=:)', lambda found: ", ".join(sorted(found[0].split(", "))), text)


def test_a_diff_from_a_file_is_that_of_the_database(pair: Pair) -> None:
    pair.fill(SHOP)
    pair.fill(
        'alter table "Shop"."Orders" add note text; insert into "Shop"."Orders" values (900, 1, 1)', only="source"
    )
    closed = {"PLANRUN_SOURCE_URL": "", "PLANRUN_TARGET_URL": ""}
    for words in (("--until", "prepare"), ("--resume",)):
        pair.ok("apply", "plan.yml", "--yes", *words)
        pair.ok("snapshot", "plan.yml", "--out", "c.json")
        wanted = pair.ok("diff", "plan.yml").out
        found = pair.ok("diff", "plan.yml", "--snapshot", "c.json", env=closed).out
        assert re.match(r"target: the catalog file c\.json, of t_\w+ at .* as catalog_app, PostgreSQL \d", found)
        assert _alike(found) == _alike(wanted), words
        assert "Orders" in wanted and "unknown until run" not in found
    before = (pair.folder / "c.json").read_text()
    pair.ok("snapshot", "plan.yml", "--out", "c.json")
    after = (pair.folder / "c.json").read_text()
    moment = re.compile(r'"taken": .*|"rows": \d+, .*"main_bytes": \d+')
    assert moment.sub("", before) == moment.sub("", after), "the same database gives the same file"
    assert '"checksum"' not in after and '"stream"' not in after


QUERIES = """
name: q
connections: {target: {}}
steps:
  - {id: rows, uses: query, with: {text: "select count(*) as n from orders"}}
  - {id: seen, when: "true", uses: query, with: {text: "select * from totals"}}
  - {id: calls, when: "true", uses: query, with: {text: "select own() as n"}}
  - {id: catalog, when: "true", uses: query, with: {text: "select count(*) as n from pg_class where relname='orders'"}}
  - {id: sound, when: "true", uses: check, with: {text: "select id from orders where id < 0"}}
  - {id: after, when: catalog.row.n == 1, uses: sql, acknowledge: a test, with: {text: truncate orders}}
  - {id: perhaps, when: rows.row.n > 5, uses: sql, acknowledge: a test, with: {text: "delete from orders where id = 1"}}
  - {id: old, when: "true", uses: retention, with: {path: b, keep_last: 3}}
  - {id: named, when: "true", uses: find_tables, with: {names: [orders, nothing], missing: skip}}
  - {id: variable, when: "true", uses: sql, with: {text: "select {{ v }}", values: {v: "${env.NOT_SET}"}}}
"""


def test_what_a_file_does_not_hold_is_unknown_until_run(pair: Pair) -> None:
    pair.write(QUERIES.replace("  - {id: variable", "#"))
    pair.fill(
        "create table orders as select generate_series(1, 70) as id; create view totals as select count(*) from orders;"
        "create function own() returns bigint language sql as 'select count(*) from orders'",
        only="target",
    )
    pair.env["PLANRUN_SOURCE_URL"] = ""
    pair.ok("snapshot", "plan.yml", "--out", "c.json")
    pair.write(QUERIES)
    pair.env["PLANRUN_TARGET_URL"] = ""
    done = pair.ok("diff", "plan.yml", "--snapshot", "c.json", "-o", "json")
    steps = {one["path"]: one for one in json.loads(done.out)["steps"]}
    why = {name: one["message"] for name, one in steps.items() if "needs" in one["message"]}
    finds = "what it finds is unknown until run; it needs {}, which a catalog file does not hold".format
    assert why == {
        **dict.fromkeys(["rows", "seen", "sound"], finds("the rows of public.orders")),
        "calls": finds("what the function own finds"),
        "old": "details are unknown until run; the step needs the backup folder of the machine that runs it, which a"
        " catalog file does not hold",
        "variable": "details are unknown until run; the step needs the variable NOT_SET",
    }
    assert steps["sound"]["state"] == "unknown until run" and steps["perhaps"]["state"] == "unknown until run"
    assert steps["after"]["state"] == "would run" and steps["catalog"]["outputs"]["row"] == {"n": 1}
    (gone,) = steps["after"]["objects"]
    assert (gone["rows"], gone["rows_exact"]) == (70, False)


# ------------------------------------------------------------------ what is not in a file, and who may take one


def test_no_secret_is_in_a_file(db: str, tmp_path: Path) -> None:
    with connect_to(db) as conn:
        conn.execute(
            "create extension postgres_fdw; create server s foreign data wrapper postgres_fdw options (host 'h');"
            "create user mapping for current_user server s options (user 'u', password 'c4n4ry');"
            "create table t (id int default 7); comment on table t is 'c4n4ry'; insert into t values (4242);"
            "create function f() returns text language sql as 'select ''c4n4ry'''"
        )
        conn.execute("create subscription sub connection 'password=c4n4ry' publication p with (connect = false)")
        conn.execute("analyze")
    try:
        taken(db, tmp_path)
        text = (tmp_path / "c.json").read_text()
        assert "c4n4ry" not in text and "4242" not in text and "DEFAULT 7" in text
        assert {'"kind": "SERVER"', '"kind": "FUNCTION"'} <= set(re.findall(r'"kind": "\w+"', text))
    finally:
        with connect_to(db) as conn:
            conn.execute("alter subscription sub set (slot_name = none)")
            conn.execute("drop subscription sub")


def test_a_secret_of_the_environment_is_refused(db: str, tmp_path: Path) -> None:
    with connect_to(db) as conn:
        conn.execute("create view remote as select 's3cr3t-token-0123'::text as token")
    (tmp_path / "p.yml").write_text(ONE)
    env = {**os.environ, "PLANRUN_TARGET_URL": db, "API_TOKEN": "s3cr3t-token-0123"}
    with pytest.raises(Exception, match=r"the definition of view public\.remote holds a secret") as caught:
        taking.take(load_plan(tmp_path / "p.yml"), env, Cancel())
    assert "s3cr3t" not in str(caught.value)


def test_a_role_that_may_not_read_everything_is_told_what_it_needs(pair: Pair, pg_server: Server) -> None:
    pair.write(ONE)
    pair.env["PLANRUN_SOURCE_URL"] = ""
    name = psycopg.conninfo.conninfo_to_dict(pair.target)["dbname"]
    with connect_to(pg_server.conninfo(str(name))) as conn:
        conn.execute("create table closed (id int)")
    done = pair.here("snapshot", "plan.yml", "--out", "c.json")
    assert done.code == 1 and "grant pg_read_all_data" in done.output and not (pair.folder / "c.json").exists()


def test_an_empty_database_without_a_schema(db: str, tmp_path: Path) -> None:
    with connect_to(db) as conn:
        conn.execute("drop schema public")
    facts = taken(db, tmp_path)
    assert facts.sizes == () and facts.definitions == ()
    with private_database(facts, os.environ, Cancel()) as found, connect_to(conninfo(found)) as conn:
        assert found.left == []
        assert conn.execute("select to_regnamespace('public')").fetchone() == (None,)


def test_connections_that_the_file_lacks_or_shares(pair: Pair) -> None:
    pair.write("connections: {source: {}, target: {}}\nsteps: [{id: a, uses: query, with: {text: select 1 as n}}]\n")
    pair.env["PLANRUN_SOURCE_URL"] = pair.target
    pair.ok("snapshot", "plan.yml", "--out", "c.json")
    assert [one.same_as for one in record.read(str(pair.folder / "c.json")).databases] == ["", "target"]
    pair.ok("diff", "plan.yml", "--snapshot", "c.json")
    pair.write("connections: {other: {}}\nsteps: [{id: a, uses: query, with: {text: select 1 as n}}]\n")
    pair.env |= {"PLANRUN_SOURCE_URL": "", "PLANRUN_TARGET_URL": ""}
    done = pair.here("diff", "plan.yml", "--snapshot", "c.json")
    assert done.code == 5 and "PR1045" in done.output and "it has target, source" in done.output


# ------------------------------------------------------------------ a file that comes with a pull request


def hostile(sql: str, also: Sequence[record.Definition] = (), **more: Any) -> record.DatabaseFacts:
    """Return a database whose role was a superuser, with definitions that somebody made up."""
    return record.DatabaseFacts(**{
        "connection": "target", "place": "x", "database": "d", "version": programs.find_installed()[0].major * 10000,
        "user": "postgres", "owner": "postgres", "public_owner": "postgres", "search_path": "public",
        "roles": (record.Role(name="postgres", superuser=True, member_of=("pg_execute_server_program",)),),
        "definitions": (record.Definition(kind="TABLE", schema="public", name="t", sql=sql), *also), **more,
    })  # fmt: skip


def test_what_a_file_says_runs_with_no_rights(tmp_path: Path) -> None:
    texts = [one.replace("MARK", str(tmp_path / "MARK")) for one in FORBIDDEN]
    every = [record.Definition(kind="ACL", schema="", name=str(number), sql=sql) for number, sql in enumerate(texts)]
    with private_database(hostile("create table public.t (x text)", every), os.environ, Cancel()) as found:
        refused = [one for one in found.left if one.startswith("acl ")]
        with connect_to(conninfo(found)) as conn:
            assert conn.execute("select rolname from pg_roles where rolname = 'evil'").fetchall() == []
    assert len(refused) == len(FORBIDDEN), "each is refused, and named"
    assert not list(tmp_path.iterdir())


FORBIDDEN = [
    "copy t from program 'touch MARK'",
    "copy t to 'MARK'",
    "create role evil superuser",
    "create role evil",
    "alter role current_user superuser",
    "set role planrun_nobody; create role evil superuser",
    "SET SESSION AUTHORIZATION postgres; create role evil superuser",
    "alter system set archive_command = 'touch MARK'",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "create function f() returns int language c as '/lib/x86_64-linux-gnu/libc.so.6', 'getpid'",
    "create event trigger e on ddl_command_start execute function f()",
    "drop table pg_catalog.pg_class",
    "\\! touch MARK",
    "grant pg_execute_server_program to current_user",
    "create table pg_catalog.mine (x int)",
    "load '/tmp/x.so'",
    "do 'begin raise exception ''x''; end'",
]


MIGHTY = "begin execute 'alter role postgres superuser'; exception when others then null; end;"
TRAPS = f"""
create table public.t (x text);
create function public.escalate() returns trigger language plpgsql as $$begin {MIGHTY} return new; end$$;
create schema planrun;
create table planrun.refresh (id text, about jsonb, shadow text);
create table planrun.member (oid oid, refresh text);
create trigger x before insert on planrun.refresh for each row execute function public.escalate();
create function public.unnest(text[]) returns setof text language plpgsql as $$begin {MIGHTY} end$$;
create function public.pg_total_relation_size(regclass) returns bigint language plpgsql as
    $$begin {MIGHTY} return 1; end$$;
"""
"""What becomes a superuser if anything of it runs as one."""


def test_what_a_file_makes_gets_no_rights_from_us() -> None:
    size = record.Size(schema="public", name="t", rows=5, counted=True, bytes=9, table_bytes=9, main_bytes=9)
    row = record.LedgerRow(part="refresh", identity="", row={"id": "x", "about": {}, "shadow": "s"})
    facts = hostile(TRAPS, sizes=(size,), ledger=(row,), search_path="public, pg_catalog")
    with private_database(facts, os.environ, Cancel()) as found:
        assert found.left == ["role postgres is a member of pg_execute_server_program"]
        with connect_to(conninfo(found)) as conn:
            assert conn.execute("select count(*) from planrun.refresh").fetchone() == (1,)
            names = "select rolname from pg_roles where rolsuper and not starts_with(rolname, 'planrun_owner_')"
            assert conn.execute(names).fetchall() == []
            members = "select 1 from pg_auth_members m join pg_roles r on r.oid = m.roleid where r.rolname ~ 'server_'"
            assert conn.execute(members).fetchall() == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"extensions": (record.Extension(name="no_such", schema="public", version="1"),)},
            "needs the extension no_such",
        ),
        ({"encoding": "x'; drop database postgres; --"}, "its roles and its database"),
    ],
)
def test_a_file_that_cannot_be_made_says_why(more: dict[str, Any], said: str) -> None:
    with (
        pytest.raises(TargetError, match=re.escape(said)) as caught,
        private_database(hostile("create table public.t (x int)", **more), os.environ, Cancel()),
    ):
        pass
    assert caught.value.code == "PR1046"


def test_a_statement_that_does_not_end_can_be_interrupted() -> None:
    import threading

    cancel = Cancel()
    timer = threading.Timer(1.0, cancel.cancel, (KeyboardInterrupt("enough"),))
    timer.start()
    began = time.monotonic()
    with (
        pytest.raises((TargetError, KeyboardInterrupt)),
        private_database(hostile("set statement_timeout = 0; select pg_sleep(100)"), os.environ, cancel),
    ):
        pass
    assert time.monotonic() - began < 20
