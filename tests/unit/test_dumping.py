"""Backups of a real PostgreSQL, and what is left when something goes wrong."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import files
from runner.backup import needs, restoring, sessions, verifying
from runner.backup.plaintext import COMPLETE
from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.errors import ConnectError, Interrupted, PlanrunError, TargetError
from runner.model import Backup, Note, Restore
from runner.names import session_name
from runner.sqltext import ident
from tests.backups import Backups, Made
from tests.servers import Server

HOSTILE = (
    "Area", 'quo"te', "dot.ted", "st*r", "qu?stion", "dol$lar", "back\\slash", "new\nline", "car\rriage", "sp ace",
    "be\all", "semi;colon",
    "per%cent", "sla/sh", "[br|ack]", "(par)+", "{cur}^", "-dash", "..", "'single'", "Größe", "表", "é" * 31, "x" * 63,
)  # fmt: skip


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    return Backups(db, tmp_path / "backups")


@pytest.fixture
def psql(pg_server: Server) -> Callable[[str, Path], subprocess.CompletedProcess[str]]:
    def run(dsn: str, file: Path) -> subprocess.CompletedProcess[str]:
        tool = pg_server.programs.tool("psql")
        argv = [tool, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", str(file)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    return run


def make_tables(backups: Backups, *names: str, rows: int = 3) -> None:
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        backups.sql(f"create table {quoted} (id int, t text)")
        backups.sql(f"insert into {quoted} select g, md5(g::text) from generate_series(1, {rows}) g")


# ------------------------------------------------------------------ what a session is


def test_a_session_holds_the_dumps_the_summary_the_manifest_and_the_sums(backups: Backups) -> None:
    make_tables(backups, "_cdc_users", "_cdc_roles", rows=12)
    made = backups.make(tables=["_cdc_users", "_cdc_roles"])
    assert sorted(path.name for path in made.path.iterdir()) == [
        "SHA256SUMS", "_cdc_roles.sql", "_cdc_users.sql", "backup-summary.txt", "manifest.json",
    ]  # fmt: skip
    assert session_name(sessions.read(made.path).started) == made.path.name
    assert made.result["rows"] == 24
    assert (made.path / "_cdc_users.sql").read_text().count("INSERT INTO") == 12
    summary = (made.path / "backup-summary.txt").read_text()
    assert "public._cdc_users: 12 rows" in summary and "psql -X -d DATABASE -f _cdc_users.sql" in summary
    assert [(f.state, f.tables, f.rows) for f in sessions.facts(backups.folder)] == [("complete", 2, 24)]


def test_names_are_found_whatever_encoding_a_client_gets_by_default(backups: Backups) -> None:
    make_tables(backups, "Größe")
    (name,) = backups.rows("select current_database()")[0]
    backups.sql(f'alter database "{name}" set client_encoding = latin1')
    made = backups.make(tables=["Größe"])
    assert made.result["rows"] == 3
    assert "SET client_encoding = 'UTF8'" in (made.path / "Größe.sql").read_text(encoding="utf-8")


def test_everything_in_a_session_is_private(backups: Backups) -> None:
    make_tables(backups, "a")
    made = backups.make(tables=["a"], format="directory")
    for path in (made.path, *made.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_sha256sum_reads_the_sums(backups: Backups) -> None:
    make_tables(backups, *HOSTILE)
    made = backups.make(tables=[{"schema": "public", "name": name} for name in HOSTILE])
    done = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=made.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == len(HOSTILE) + 2


def test_the_manifest_says_where_the_data_came_from(backups: Backups) -> None:
    backups.sql("create table roles (id int primary key)")
    backups.sql("create table users (id int primary key, role int references roles)")
    backups.sql("alter table users add column twice int generated always as (id * 2) stored")
    backups.sql("insert into roles values (1); insert into users values (7, 1)")
    manifest = backups.make(tables=["users", "roles"]).manifest
    users = next(table for table in manifest["tables"] if table["name"] == "users")
    assert users["columns"] == ["id", "role"] and users["references"] == [["public", "roles"]]
    assert manifest["server"]["database"] == psycopg.conninfo.conninfo_to_dict(backups.dsn)["dbname"]
    assert manifest["server"]["version_num"] > 140000 and manifest["pg_dump"] and manifest["snapshot"]
    assert (manifest["plan"], manifest["run"], manifest["format"]) == ("nightly", "r1", "insert")
    assert len(manifest["schema_digest"]) == 64


def test_the_schema_digest_changes_with_the_schema_alone(backups: Backups) -> None:
    make_tables(backups, "a")
    first = backups.make(tables=["a"]).manifest["schema_digest"]
    backups.sql("insert into a values (9, 'more')")
    assert backups.make(tables=["a"]).manifest["schema_digest"] == first
    backups.sql("alter table a add column more int default 5")
    assert backups.make(tables=["a"]).manifest["schema_digest"] != first


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("form", ["insert", "copy", "custom", "directory", "csv"])
def test_hostile_names_are_dumped_each_from_its_own_table(backups: Backups, form: str) -> None:
    make_tables(backups, *HOSTILE)
    make_tables(backups, "area", "dol", "str", "sttr", "new", rows=99)  # what a careless pattern would match instead
    made = backups.make(tables=[{"schema": "public", "name": name} for name in HOSTILE], format=form, jobs=4)
    manifest = sessions.read(made.path)
    assert {table.name: table.rows for table in manifest.tables} == dict.fromkeys(HOSTILE, 3)
    assert len({table.file.casefold() for table in manifest.tables}) == len(HOSTILE)
    assert all("/" not in table.file for table in manifest.tables)
    backups.sql(f"drop table {', '.join(map(ident, HOSTILE))}")
    env = {"DATABASE_URL": backups.dsn, "PATH": os.environ["PATH"]}
    restored = restoring.restore(Restore(session=str(made.path)), Connections({}, env))
    assert restored["rows"] == 3 * len(HOSTILE)


def test_large_objects_that_are_not_in_it_are_told(backups: Backups) -> None:
    """pg_dump writes them with a whole database only; a column of type oid may well name none."""
    backups.sql(
        "create table pictures (id int, o oid); insert into pictures values (1, 7); create table plain (id int)"
    )
    assert not backups.make(tables=["pictures"]).reasons
    backups.sql("update pictures set o = lo_from_bytea(0, 'abc'); insert into plain values (1)")
    told = {
        "large objects": "public.pictures (o) may refer to large objects, which only a dump of the whole "
        "database contains"
    }
    assert backups.make(tables=["pictures"]).reasons == told == backups.make(schemas=["public"]).reasons
    assert not backups.make(tables=["plain"]).reasons and not backups.make().reasons


@pytest.mark.parametrize("form", ["insert", "copy", "csv"])
def test_a_portable_dump_has_nothing_that_older_programs_do_not_know(backups: Backups, form: str) -> None:
    text = "create table a (id int primary key, t text); create table b (id int primary key references a)"
    backups.sql(text + r"; insert into a select n, E'\\unrestrict x\n\\restrict y' from generate_series(1, 20000) n")
    backups.sql("insert into b values (7)")
    for portable in (False, True):
        more: dict[str, Any] = {"plain": "portable"} if portable else {}
        made = backups.make(tables=["a", "b"], format=form, **more)
        commands = {
            line.split()[0]
            for file in made.path.glob("*.sql")
            for line in file.read_text().splitlines()
            if re.match(r"\\(un)?restrict \w{20,}$|SET transaction_timeout", line)
        }
        assert not commands if portable else commands <= {"\\restrict", "\\unrestrict", "SET"}
        assert verifying.verify(made.path, 2).level == 2
    backups.sql("drop table b, a")
    restored = restoring.restore(
        Restore(session=str(made.path)), Connections({}, {"DATABASE_URL": backups.dsn, "PATH": os.environ["PATH"]})
    )
    assert restored["rows"] == 20001


def test_names_that_differ_only_in_case_get_their_own_files(backups: Backups) -> None:
    make_tables(backups, "users", "Users", "USERS")
    made = backups.make(tables=["users", "Users", "USERS"])
    assert made.result["files"] == ["USERS.sql", "Users~2.sql", "users~3.sql"]


def test_the_schema_is_in_the_file_name_where_two_tables_share_one(backups: Backups) -> None:
    backups.sql(
        "create schema sales; create table sales.t (i int); create table sales.u (i int); create table t (i int)"
    )
    backups.sql("insert into t values (1); insert into sales.t values (2); insert into sales.u values (3)")
    made = backups.make(tables=["t", "sales.t", "sales.u"])
    assert sorted(t["file"] for t in made.manifest["tables"]) == ["sales.t.sql", "t.sql", "u.sql"]


# ------------------------------------------------------------------ what is left out


def test_empty_and_missing_tables_are_left_out_with_the_reason(backups: Backups) -> None:
    make_tables(backups, "full")
    backups.sql(
        "create table empty (i int); create view look as select 1 as one; create materialized view old as select 1"
    )
    made = backups.make(tables=["full", "empty", "nope", "look", "old"])
    assert made.reasons == {
        "empty": "empty",
        "nope": "does not exist",
        "look": "a view, not a table",
        "old": "a materialized view, not a table",
    }
    assert "public.nope: does not exist" in (made.path / "backup-summary.txt").read_text()
    assert [left["name"] for left in made.manifest["left_out"]] == sorted(made.reasons)


def test_an_empty_table_is_dumped_when_that_is_asked_for(backups: Backups) -> None:
    backups.sql("create table empty (i int)")
    assert backups.make(tables=["empty"], skip_empty=False).result["files"] == ["empty.sql"]


def test_no_session_is_made_when_every_table_is_empty(backups: Backups) -> None:
    backups.sql("create table empty (i int)")
    made = backups.make(tables=["empty"])
    assert made.result["session"] == "" and made.reasons == {"empty": "empty"}
    assert backups.names() == []


def test_nothing_of_what_is_named_is_there(backups: Backups) -> None:
    make_tables(backups, "users")
    with pytest.raises(PlanrunError, match=r"nothing to dump \(public.nope: does not exist\)"):
        backups.actions(tables=["nope"])
    with pytest.raises(PlanrunError, match=r'public."Users" \(there is users\)'):
        backups.actions(tables=["Users"])
    with pytest.raises(PlanrunError, match=r"there is no schema pubic \(there is public\)"):
        backups.actions(schemas=["public", "pubic"])
    backups.sql("create schema bare")
    with pytest.raises(PlanrunError, match=r"nothing to dump: there is no table in schema bare") as caught:
        backups.actions(schemas=["bare"])
    assert "tables are in: public" in caught.value.hint
    assert backups.note(tables=[]) == "nothing to dump: there is no table", "what find_tables was allowed to find"


def test_tables_that_were_empty_when_they_were_found_are_told_in_the_diff(backups: Backups) -> None:
    backups.sql("create table a (i int); create table b (i int)")
    found = [{"schema": "public", "name": "a", "empty": True}, {"schema": "public", "name": "b", "empty": False}]
    note, *_ = backups.actions(tables=found)
    assert note == Note(text="left out if still empty at that time: public.a")
    assert len(backups.actions(tables=found, skip_empty=False)) == 2


def test_a_table_dropped_between_diff_and_apply_is_left_out(backups: Backups) -> None:
    make_tables(backups, "stays", "goes")
    action = backups.action(tables=["stays", "goes"])
    backups.sql("drop table goes")
    made = backups.run(action)
    assert made.reasons == {"goes": "dropped before the backup began"}
    assert made.result["files"] == ["stays.sql"]


# ------------------------------------------------------------------ formats


@pytest.mark.parametrize(("form", "compress"), [("insert", False), ("copy", "gzip"), ("insert", "zstd")])
def test_plain_formats_run_in_psql(
    backups: Backups, new_db: Callable[[], str], psql: Any, tmp_path: Path, form: str, compress: Any
) -> None:
    make_tables(backups, *HOSTILE)
    made = backups.make(tables=[{"name": name} for name in HOSTILE], format=form, compress=compress)
    target = Backups(new_db(), tmp_path)
    for table in sessions.read(made.path).tables:
        text = tmp_path / "one.sql"
        text.write_bytes(b"".join(files.decompress(made.path / table.file)))
        done = psql(target.dsn, text)
        assert done.returncode == 0, done.stderr
    counted = "select count(*) from pg_stat_user_tables"
    assert target.rows(counted) == [(len(HOSTILE),)]
    assert target.rows('select * from "new\nline" order by id') == backups.rows('select * from "new\nline" order by id')


@pytest.mark.parametrize("form", ["custom", "directory"])
@pytest.mark.parametrize("compress", [False, True])
def test_archives_are_read_by_pg_restore(
    backups: Backups, new_db: Callable[[], str], pg_server: Server, form: str, compress: bool
) -> None:
    make_tables(backups, "Area", "b")
    made = backups.make(tables=["Area", "b"], format=form, compress=compress)
    target = new_db()
    for table in made.manifest["tables"]:
        argv = [pg_server.programs.tool("pg_restore"), "-e", "-d", target, str(made.path / table["file"])]
        subprocess.run(argv, check=True, capture_output=True)
    with psycopg.connect(target) as conn:
        assert conn.execute('select count(*) from "Area"').fetchone() == (3,)


def test_csv_has_a_line_of_names_and_the_ddl_beside_it(backups: Backups) -> None:
    backups.sql("create table t (id int, t text, twice int generated always as (id * 2) stored)")
    backups.sql("insert into t values (1, 'a,\"b\"')")
    made = backups.make(tables=["t"], format="csv")
    assert (made.path / "t.csv").read_text() == 'id,t\n1,"a,""b"""\n'
    assert "CREATE TABLE public.t" in (made.path / "t.schema.sql").read_text()
    assert "t.schema.sql" in made.manifest["files"]


def test_the_ddl_of_a_csv_is_cut_where_the_rows_go(backups: Backups, new_db: Callable[[], str], psql: Any) -> None:
    backups.sql("create table other (id int primary key); insert into other values (1)")
    backups.sql("create table t (id serial primary key, o int references other); insert into t (o) values (1)")
    backups.sql(
        "create index on t (o); comment on column t.o is 'it; Type: INDEX; Schema: x'; grant select on t to public"
    )
    made = backups.make(tables=["t", "other"], format="csv")
    target = Backups(new_db(), backups.folder)
    texts = {t.name: (t, (made.path / f"{t.name}.schema.sql").read_bytes()) for t in sessions.read(made.path).tables}
    for name in ("other", "t"):
        table, text = texts[name]
        before, after = text[: table.post_data_at], text[table.post_data_at :]
        assert b"PRIMARY KEY" in after and b"PRIMARY KEY" not in before
        for number, part in enumerate((before, after)):
            path = made.path / f"{number}.part"
            path.write_bytes(part)
            done = psql(target.dsn, path)
            assert done.returncode == 0, done.stderr
            if part is before:
                with (
                    psycopg.connect(target.dsn) as conn,
                    conn.cursor().copy(f"copy {name} from stdin csv header") as copy,
                ):
                    copy.write((made.path / table.file).read_bytes())
    assert target.rows("select * from t") == [(1, 1)]


def test_the_whole_database_in_one_dump_counts_every_table(backups: Backups) -> None:
    make_tables(backups, "a", "b")
    backups.sql("create schema sales; create table sales.c (i int); insert into sales.c values (1)")
    made = backups.make(format="custom")
    found = {(table["schema"], table["name"]): table["rows"] for table in made.manifest["tables"]}
    assert found == {("public", "a"): 3, ("public", "b"): 3, ("sales", "c"): 1}
    assert len(made.result["files"]) == 1


def test_whole_schemas(backups: Backups) -> None:
    make_tables(backups, "a")
    backups.sql('create schema "Sales.x"; create table "Sales.x".c (i int); insert into "Sales.x".c values (1)')
    made = backups.make(schemas=["Sales.x"])
    assert [(t["schema"], t["name"]) for t in made.manifest["tables"]] == [("Sales.x", "c")]
    assert made.manifest["tables"][0]["file"] == "Sales.x.sql"


# ------------------------------------------------------------------ tables that hang together


def test_foreign_keys_stand_behind_the_recorded_offset(
    backups: Backups, new_db: Callable[[], str], psql: Any, tmp_path: Path
) -> None:
    """Two tables that refer to each other come back: first all of both without their keys, then the keys."""
    backups.sql("create table a (id int primary key, b int); create table b (id int primary key, a int references a)")
    backups.sql(
        "alter table a add foreign key (b) references b; insert into a values (1, null); insert into b values (1, 1)"
    )
    backups.sql("update a set b = 1; create index on a (b)")
    made = backups.make(tables=["a", "b"], compress="gzip")
    texts = [(b"".join(files.decompress(made.path / t.file)), t.post_data_at) for t in sessions.read(made.path).tables]
    target = new_db()
    for number, part in enumerate([t[:at] for t, at in texts] + [t[at:] for t, at in texts]):
        path = tmp_path / f"{number}.sql"
        path.write_bytes(part)
        assert b"FOREIGN KEY" not in part if number < 2 else b"FOREIGN KEY" in part
        assert COMPLETE in part
        done = psql(target, path)
        assert done.returncode == 0, done.stderr
    with psycopg.connect(target) as conn:
        assert conn.execute("select count(*) from pg_constraint where contype = 'f'").fetchone() == (2,)


def test_a_partitioned_table_is_one_dump_with_all_its_partitions(
    backups: Backups, new_db: Callable[[], str], psql: Any
) -> None:
    backups.sql("create table log (day int, t text) partition by range (day)")
    backups.sql("create table p1 partition of log for values from (0) to (10)")
    backups.sql("create table p2 partition of log for values from (10) to (20) partition by list (t)")
    backups.sql("create table p2a partition of p2 for values in ('a'); insert into log values (1, 'x'), (11, 'a')")
    made = backups.make(tables=["log", "p1", "p2a"])
    assert [(t["name"], t["rows"]) for t in made.manifest["tables"]] == [("log", 2)]
    target = new_db()
    done = psql(target, made.path / "log.sql")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(target) as conn:
        assert conn.execute("select * from log order by 1").fetchall() == [(1, "x"), (11, "a")]


def test_a_parent_table_is_counted_without_its_children(backups: Backups) -> None:
    backups.sql("create table parent (i int); create table child () inherits (parent)")
    backups.sql("insert into parent values (1); insert into child values (2), (3)")
    made = backups.make(tables=["parent", "child"])
    assert {t["name"]: t["rows"] for t in made.manifest["tables"]} == {"parent": 1, "child": 2}
    assert made.manifest["tables"][1]["references"] or made.manifest["tables"][0]["references"]


# ------------------------------------------------------------------ one snapshot


def test_writers_do_not_disturb_the_snapshot(backups: Backups) -> None:
    """A writer moves rows between two tables in one transaction: in any snapshot both have the same number."""
    backups.sql("create table a (id bigint generated always as identity, t text); create table b (like a)")
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(backups.dsn, autocommit=True) as conn:
            while not stop.is_set():
                with conn.transaction():
                    conn.execute("insert into a (t) select md5(g::text) from generate_series(1, 50) g")
                    conn.execute("insert into b select g, md5(g::text) from generate_series(1, 50) g")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while backups.rows("select count(*) > 500 from a") != [(True,)]:
            time.sleep(0.01)
        made = backups.make(tables=["a", "b"])
    finally:
        stop.set()
        writer.join()
    rows = [table["rows"] for table in made.manifest["tables"]]
    assert rows[0] == rows[1] > 500
    for table, count in zip(made.manifest["tables"], rows, strict=True):
        assert (made.path / table["file"]).read_text().count("INSERT INTO") == count


def test_the_checksum_does_not_depend_on_the_order_of_rows(backups: Backups) -> None:
    backups.sql("create table a (i int, t text); insert into a select g, g::text from generate_series(1, 100) g")
    backups.sql("create table b (i int, t text); insert into b select * from a order by i desc")
    backups.sql("create table c (i int, t text); insert into c select * from a; update c set t = 'x' where i = 7")
    sums = {t["name"]: t["checksum"] for t in backups.make(tables=["a", "b", "c"]).manifest["tables"]}
    assert sums["a"] == sums["b"] != sums["c"]


def test_a_column_named_like_the_alias_does_not_stand_for_the_row(backups: Backups) -> None:
    backups.sql("create table a (t int, other int); insert into a values (1, 1)")
    first = backups.make(tables=["a"]).manifest["tables"][0]["checksum"]
    backups.sql("update a set other = 2")
    assert backups.make(tables=["a"]).manifest["tables"][0]["checksum"] != first


def test_progress_is_told(backups: Backups) -> None:
    make_tables(backups, "a", "b")
    told: list[tuple[int, int, str, str]] = []
    backups.make(tables=["a", "b"], progress=lambda *each: told.append(each))
    for phase in ("counting", "writing"):
        reached = [done / total for done, total, of, _ in told if of == phase]
        assert reached == sorted(reached) and (reached[0], reached[-1]) == (0, 1)
    assert {what for *_, of, what in told if of} == {"", "public.a", "public.b"}


# ------------------------------------------------------------------ failures


@pytest.fixture
def clerk(backups: Backups, pg_server: Server) -> Iterator[Backups]:
    """Backups by a role that may read nothing yet."""
    role = "clerk_" + str(psycopg.conninfo.conninfo_to_dict(backups.dsn)["dbname"])[-8:]
    backups.sql(f"create role {role} login password 'topsecret'")
    yield Backups(psycopg.conninfo.make_conninfo(backups.dsn, user=role, password="topsecret"), backups.folder)
    backups.sql(f"drop owned by {role}; drop role {role}")


def role_of(backups: Backups) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(backups.dsn)["user"])


def test_all_tables_that_cannot_be_read_are_named_before_anything_is_dumped(backups: Backups, clerk: Backups) -> None:
    backups.sql(
        "create schema closed; create table closed.x (i int); create table open (i int); create table no (i int)"
    )
    backups.sql(
        "create table own (id serial); create table hidden (i int); alter table hidden enable row level security"
    )
    backups.sql(f"grant select on open, own, hidden to {role_of(clerk)}")
    assert clerk.problems(tables=["open", "no", "own", "hidden", "closed.x"]) == [
        "closed.x: no select",
        "closed.x: no usage on schema closed",
        f"public.hidden: row security hides rows from {role_of(clerk)}",
        "public.no: no select",
        "public.own: no select on its sequence public.own_id_seq",
    ]


def test_a_table_that_cannot_be_read_fails_the_backup_and_leaves_nothing(backups: Backups, clerk: Backups) -> None:
    make_tables(backups, "open", "no")
    backups.sql(f"grant select on open to {role_of(clerk)}")
    with pytest.raises(TargetError, match="permission denied for table no"):
        clerk.make(tables=["open", "no"])
    assert clerk.names() == []


def test_rows_that_row_security_hides_fail_the_backup(backups: Backups, clerk: Backups) -> None:
    make_tables(backups, "hidden")
    backups.sql(f"alter table hidden enable row level security; grant select on hidden to {role_of(clerk)}")
    backups.sql(f"create policy part on hidden to {role_of(clerk)} using (id = 1)")
    with pytest.raises(TargetError, match="row-level security"):
        clerk.make(tables=["hidden"])
    assert clerk.names() == []


def test_the_password_is_in_no_file_and_no_process(backups: Backups, clerk: Backups, tmp_path: Path) -> None:
    make_tables(backups, "a", rows=200_000)  # so that pg_dump is still at it when we look, on a busy machine too
    backups.sql(f"grant select on a to {role_of(clerk)}")
    seen: list[str] = []

    def look(*_: object) -> None:
        for entry in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    text = (entry / name).read_text(errors="replace")
                except OSError:
                    continue
                if "pg_dump" in text:
                    seen.append(text)

    made = clerk.make(tables=["a"], progress=look)
    assert seen and not any("topsecret" in text for text in seen)
    assert not any("topsecret" in path.read_text() for path in made.path.iterdir())


def test_no_server_is_a_connect_error_and_leaves_no_folder(tmp_path: Path, backups: Backups) -> None:
    make_tables(backups, "a")
    action = backups.action(tables=["a"])
    gone = Backups(f"host={tmp_path} port=1 dbname=x", backups.folder)
    with pytest.raises(ConnectError, match="cannot connect"):
        gone.run(action)
    assert backups.names() == []


def test_a_folder_that_cannot_be_made_is_told(backups: Backups, tmp_path: Path) -> None:
    make_tables(backups, "a")
    (tmp_path / "file").write_text("")
    backups.folder = tmp_path / "file" / "backups"
    with pytest.raises(TargetError, match="cannot make the folder: Not a directory"):
        backups.make(tables=["a"])


def test_a_missing_program_is_told(backups: Backups, tmp_path: Path) -> None:
    make_tables(backups, "a")
    with pytest.raises(TargetError, match="nowhere/pg_dump was not found"):
        backups.run(with_program(backups.action(tables=["a"]), "/nowhere/pg_dump"))
    assert backups.names() == []


def with_program(action: Backup, program: str) -> Backup:
    from dataclasses import replace

    return replace(action, dumps=tuple(replace(d, argv=(program, *d.argv[1:])) for d in action.dumps))


def with_broken_pg_dump(action: Backup, folder: Path, script: str) -> Backup:
    """Put a program in pg_dump's place that does something else on the way; PG is the real one."""
    program = folder / "pg_dump"
    program.write_text(f"#!/bin/sh\nPG={action.dumps[0].argv[0]}\n{script}\n")
    program.chmod(0o700)
    return with_program(action, str(program))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('case "$*" in *\\"b\\"*) kill -9 $$;; esac; exec $PG "$@"', "pg_dump was killed by SIGKILL"),
        ('$PG "$@" | head -c 500', "does not contain the whole table"),
        ('$PG "$@" | sed "s/Type: TABLE;/Type: OTHER;/"', "does not contain the whole table"),
        ("echo oh no >&2; exit 3", "pg_dump ended with exit code 3:\n    oh no"),
    ],
)
def test_a_pg_dump_that_fails_fails_the_backup(backups: Backups, tmp_path: Path, script: str, message: str) -> None:
    make_tables(backups, "a", "b", rows=100)
    old = backups.make(tables=["a"])
    with pytest.raises(TargetError) as caught:
        backups.run(with_broken_pg_dump(backups.action(tables=["a", "b"]), tmp_path, script))
    assert message in str(caught.value)
    assert backups.names() == [old.path.name]
    assert backups.make(tables=["a", "b"]).result["rows"] == 200


def test_a_backend_that_is_ended_half_way_fails_the_backup(backups: Backups, tmp_path: Path) -> None:
    make_tables(backups, "a", rows=20_000)
    kill = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'FETCH%cursor'"

    def end(done: int, total: int, unit: str, what: str) -> None:
        if unit == "writing" and done:
            backups.sql(kill + " and datname = current_database()")

    with pytest.raises(TargetError, match=r"terminat|server closed") as caught:
        backups.make(tables=["a"], progress=end)
    assert caught.value.category == "connection"
    assert backups.names() == []


def test_a_server_that_is_killed_half_way_fails_the_backup(crashable: Server, tmp_path: Path) -> None:
    backups = Backups(crashable.create("app"), tmp_path / "backups")
    make_tables(backups, "a", "b", rows=20_000)
    old = backups.make(tables=["a"])
    killed: list[bool] = []

    def kill(done: int, total: int, unit: str, what: str) -> None:
        if not killed:
            killed.append(True)
            crashable.kill9()

    with pytest.raises(TargetError) as caught:
        backups.make(tables=["a", "b"], progress=kill)
    assert caught.value.category == "connection", caught.value
    assert backups.names() == [old.path.name]
    crashable.start()
    assert backups.make(tables=["a", "b"]).result["rows"] == 40_000


def test_a_disk_that_is_full_is_told_with_the_path(backups: Backups) -> None:
    make_tables(backups, "a", rows=50_000)
    action = backups.action(tables=["a"])
    with limited(1_000_000), pytest.raises(TargetError, match=r"a\.sql: PR0903 cannot write: File too large"):
        backups.run(action)
    assert backups.names() == []


def test_a_limit_that_kills_pg_dump_itself_is_told(backups: Backups) -> None:
    make_tables(backups, "a", rows=50_000)
    action = backups.action(tables=["a"], format="custom")
    with limited(1_000_000), pytest.raises(TargetError, match=r"SIGXFSZ .the file size limit|File too large"):
        backups.run(action)
    assert backups.names() == []


class limited:  # noqa: N801
    """RLIMIT_FSIZE for this process and its children, for a while."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> None:
        self._old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._old[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._old)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; only root can make one."""
    where = tmp_path / "small"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "planrun-test", str(where)], check=True)
    yield where
    subprocess.run(["umount", str(where)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("form", ["insert", "custom", "directory", "csv"])
def test_a_small_disk_that_fills_leaves_older_sessions_and_room(backups: Backups, small_disk: Path, form: str) -> None:
    make_tables(backups, "big", rows=50_000)
    make_tables(backups, "a")
    backups.folder = small_disk / "backups"
    old = backups.make(tables=["a"])
    with pytest.raises(TargetError, match="No space left on device"):
        backups.make(tables=["big", "a"], format=form)
    assert backups.names() == [old.path.name]
    assert backups.make(tables=["a"]).path.is_dir()


def test_a_cancel_stops_the_children_and_leaves_nothing(backups: Backups, tmp_path: Path) -> None:
    make_tables(backups, "a", "b")
    action = with_broken_pg_dump(backups.action(tables=["a", "b"]), tmp_path, "sleep 60 & wait")
    cancel = Cancel()
    timer = threading.Timer(0.5, cancel.cancel, (Interrupted("stopped", signal=signal.SIGINT),))
    timer.start()
    began = time.monotonic()
    with pytest.raises(Interrupted, match="stopped"):
        backups.run(action, cancel=cancel)
    assert time.monotonic() - began < 4
    assert backups.names() == []


def test_a_lock_that_others_hold_is_not_waited_for_without_end(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tables(backups, "a")
    backups.sql(f"alter role {role_of(backups)} set lock_timeout = '10s'")
    action = backups.action(tables=["a"])
    monkeypatch.setattr("runner.backup.snapshot._SETTINGS", {"lock_timeout": "200ms", "row_security": "off"})
    with psycopg.connect(backups.dsn) as conn:
        conn.execute("lock table a in access exclusive mode")
        with pytest.raises(TargetError, match="lock timeout") as caught:
            backups.run(action)
    assert caught.value.category == "lock"
    assert backups.names() == []


def test_a_truncate_has_to_wait_for_the_backup(backups: Backups) -> None:
    """A TRUNCATE is seen by older snapshots: without a lock the dump would be empty and say nothing."""
    make_tables(backups, "a", "b")
    refused: list[str] = []

    def truncate(done: int, total: int, unit: str, what: str) -> None:
        with psycopg.connect(backups.dsn, autocommit=True, options="-c lock_timeout=50ms") as conn:
            try:
                conn.execute("truncate a, b")
            except psycopg.errors.LockNotAvailable as exc:
                refused.append(str(exc))

    assert backups.make(tables=["a", "b"], jobs=1, progress=truncate).result["rows"] == 6
    assert refused


def test_two_backups_at_once_make_two_sessions(backups: Backups) -> None:
    make_tables(backups, "a")
    action = backups.action(tables=["a"])
    made: list[Made] = []
    threads = [threading.Thread(target=lambda: made.append(backups.run(action))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.path for each in made}) == 4 == len(backups.names())


# ------------------------------------------------------------------ versions


def test_every_version_backs_up_in_every_form(each_version: Server, tmp_path: Path) -> None:
    backups = Backups(each_version.create("taken"), tmp_path)
    backups.sql("create type mood as enum ('ok', 'sad'); create table other (id int primary key)")
    backups.sql('create table "Area" (id int generated always as identity, m mood, o int references other, j jsonb)')
    backups.sql("""insert into other values (1); insert into "Area" (m, o, j) values ('ok', 1, '{"a": 1}')""")
    sums = set()
    for form in ("insert", "custom", "csv"):
        made = backups.make(tables=["Area", "other", "nope"], format=form)
        assert made.result["rows"] == 2 and made.reasons == {"nope": "does not exist"}
        assert made.manifest["server"]["version_num"] // 10000 == each_version.major
        sums.add(tuple(table["checksum"] for table in made.manifest["tables"]))
    whole = backups.make(format="custom").manifest
    assert sums == {tuple(table["checksum"] for table in whole["tables"])}


# ------------------------------------------------------------------ what must be whole


def test_a_partition_that_came_since_the_look_is_not_left_out_in_silence(backups: Backups) -> None:
    backups.sql(
        "create table p (n int) partition by range (n);"
        "create table p1 partition of p for values from (0) to (10); insert into p values (1)"
    )
    action = backups.action(tables=["p"])
    backups.sql("create table p2 partition of p for values from (10) to (20); insert into p values (11)")
    with pytest.raises(TargetError, match=r"partitions have just changed: public\.p2"):
        backups.run(action)
    assert backups.names() == []
    assert backups.make(tables=["p"]).result["rows"] == 2


def test_a_partition_of_a_partition_is_dumped_once(backups: Backups) -> None:
    backups.sql(
        "create table r (n int, k int) partition by range (n);"
        "create table m partition of r for values from (0) to (10) partition by list (k);"
        "create table leaf partition of m for values in (1); insert into r values (1, 1)"
    )
    made = backups.make(tables=["m", "leaf"])
    assert [table["name"] for table in made.result["tables"]] == ["m"]
    assert verifying.verify(made.path, 3).rows == 1


def test_a_database_without_tables_is_not_backed_up(backups: Backups) -> None:
    with pytest.raises(PlanrunError, match="nothing to dump: there is no table"):
        backups.actions(format="custom")


def test_csv_refuses_a_table_that_has_no_column_to_load(backups: Backups) -> None:
    backups.sql("create table nothing ()")
    with pytest.raises(PlanrunError, match=r"csv cannot hold .*nothing"):
        backups.actions(tables=["nothing"], format="csv")


@pytest.mark.parametrize("form", ["insert", "copy", "csv", "custom"])
def test_bytes_of_a_database_without_encoding_stay_as_they_are(
    new_db: Callable[[], str], tmp_path: Path, form: str
) -> None:
    words = psycopg.conninfo.conninfo_to_dict(new_db())
    name = f"{words['dbname']}_a"
    with psycopg.connect(psycopg.conninfo.make_conninfo("", **words), autocommit=True) as conn:
        conn.execute(f"create database {name} template template0 encoding 'SQL_ASCII' locale 'C'".encode())
    backups = Backups(psycopg.conninfo.make_conninfo("", **{**words, "dbname": name}), tmp_path)
    try:
        backups.sql(r"create table t as select E'na\xefve' as v")
        assert verifying.verify(backups.make(tables=["t"], format=form).path, 3).rows == 1
    finally:
        with psycopg.connect(psycopg.conninfo.make_conninfo("", **words), autocommit=True) as conn:
            conn.execute(f"drop database {name} with (force)".encode())


def test_the_journal_is_no_part_of_a_whole_database(backups: Backups) -> None:
    backups.sql("create schema planrun; create table planrun.journal (n int); create table t as select 1 as n")
    made = backups.make(format="insert")
    assert [table["name"] for table in made.result["tables"]] == ["t"]
    assert "planrun" not in (made.path / made.result["files"][0]).read_text()


def test_extensions_are_made_in_the_order_in_which_they_were(tmp_path: Path) -> None:
    row = {"kind": "extension", "schema": "", "identity": "", "classid": 3079, "into": ""}
    rows = [{**row, "name": "earthdistance", "objid": 17000}, {**row, "name": "cube", "objid": 16900}]
    found = needs.collect([*rows, {**row, "kind": "role", "name": "r", "objid": None}], lambda *_: b"")
    assert [need.name for need in found] == ["cube", "earthdistance", "r"]
