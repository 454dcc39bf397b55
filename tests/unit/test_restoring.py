"""What was taken comes back, and whatever goes wrong, the live data is as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.backup import restoring
from runner.backup.verifying import verify
from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.errors import (
    Interrupted,
    PlanrunError,
    TargetError,
    UnknownStateError,
    UsageError,
    VerifyError,
)
from runner.kinds import pg_restore
from runner.kinds.base import build
from runner.model import Check, Restore
from tests.backups import Backups, Made, render
from tests.faultproxy import FaultProxy, target_of
from tests.servers import Server
from tests.unit.test_verifying import FORMATS, NAMES, RICH, TYPES, sums

TWO = """
create table users (id serial primary key, name text);
create table orders (id int primary key, who int not null references users, note text);
insert into users (name) select 'u' || g from generate_series(1, 100) g;
insert into orders select g, g, 'o' || g from generate_series(1, 100) g;
"""


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    return Backups(db, tmp_path / "backups")


def connections(dsn: str) -> Connections:
    return Connections({}, {"DATABASE_URL": dsn, "PATH": os.environ["PATH"]})


def restore(made: Made, dsn: str, **words: Any) -> dict[str, Any]:
    more = {key: words.pop(key) for key in ("cancel", "progress") if key in words}
    return restoring.restore(Restore(session=str(made.path), **words), connections(dsn), **more)


def two(backups: Backups, **params: Any) -> Made:
    backups.sql(TWO)
    return backups.make(tables=["users", "orders"], **params)


def state(backups: Backups) -> list[Any]:
    """Everything that must not change when a restore fails: rows, and every object of the database."""
    objects = backups.rows(
        "select c.oid, n.nspname, c.relname, c.relacl::text "
        "from pg_class c join pg_namespace n on n.oid = relnamespace "
        "where nspname !~ '^pg_' and nspname <> 'information_schema' order by 1"
    )
    tables = backups.rows(
        "select quote_ident(schemaname) || '.' || quote_ident(tablename) from pg_tables "
        "where schemaname !~ '^pg_' and schemaname <> 'information_schema' order by 1"
    )
    return [objects, *(backups.rows(f"select t::text from {name} t order by 1") for (name,) in tables)]


def content(backups: Backups, names: Any = NAMES, schema: str = "") -> dict[str, Any]:
    found = {}
    for each in names:
        place = '"' + (schema or each["schema"]).replace('"', '""') + '"."' + each["name"] + '"'
        found[each["name"]] = backups.rows(f"select t::text from {place} t order by 1")
    return found


# ------------------------------------------------------------------ what comes back


@pytest.mark.parametrize("form", FORMATS)
def test_tables_and_all_they_need_come_back_after_all_of_it_was_dropped(form: str, backups: Backups) -> None:
    backups.sql(RICH + TYPES)
    made = backups.make(tables=NAMES, format=form, compress=True)
    before = content(backups)
    backups.sql('drop schema public, "Sales ""x""" cascade; create schema public')
    result = restore(made, backups.dsn)
    assert content(backups) == before
    assert (result["count"], result["rows"]) == (7, 24)
    assert 'type "Sales ""x""".mood' in result["made"] and "sequence public.shared" in result["made"]
    backups.sql('insert into public."Area" (n) values (9); insert into "Sales ""x"""."o\'rder %" (area) values (1)')
    assert backups.rows('select max(id) from public."Area"') >= [(4,)], "identity and sequences go on behind the rows"
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        backups.sql("insert into a values (3, 99)")


@pytest.mark.parametrize("whole", [False, True], ids=["tables", "schema"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_negative_zero_stays_one(form: str, whole: bool, backups: Backups) -> None:
    """pg_dump --inserts writes it as the integer -0, which is 0; such a table's rows are a COPY in the same file."""
    if whole and form == "csv":
        form = "copy"
    backups.sql(
        "create schema zero; set search_path = zero; create domain half as float4; create domain quarter as half;"
        'create table plain (id int, f float8); create table others (id int, f float8, "q\'""x" quarter);'
        "create table parted (id int, f float4) partition by range (id);"
        "create table part partition of parted for values from (0) to (9);"
        "insert into plain values (1, 0), (2, 1e-300); insert into others values (1, null, '-0'), (2, 7, 7);"
        "insert into parted values (1, '-0'), (2, '-0.5')"
    )
    names = [{"schema": "zero", "name": name} for name in ("plain", "others", "parted")]
    made = backups.make(format=form, **({"schemas": ["zero"]} if whole else {"tables": names}))
    if form == "insert" and not whole:
        copied = {path.name for path in made.path.glob("*.sql") if "COPY " in path.read_text()}
        assert copied == {"others.sql", "parted.sql"}
    backups.sql("drop table zero.plain, zero.others, zero.parted; drop domain zero.quarter, zero.half")
    restore(made, backups.dsn)
    query = 'select f::text from zero.parted union all select "q\'""x"::text from zero.others order by 1'
    assert [row[0] for row in backups.rows(query)] == ["-0", "-0", "-0.5", "7"]


@pytest.mark.parametrize("form", ["insert", "custom"])
def test_whole_databases_come_back_into_an_empty_one(form: str, backups: Backups, new_db: Callable[[], str]) -> None:
    backups.sql(RICH + TYPES)
    made = backups.make(format=form)
    empty = Backups(new_db(), backups.folder)
    restore(made, empty.dsn)
    assert content(empty) == content(backups)


@pytest.mark.parametrize("form", FORMATS)
def test_beside_the_live_tables(form: str, backups: Backups) -> None:
    backups.sql(RICH + TYPES)
    made = backups.make(tables=NAMES, format=form)
    before, whole = content(backups), state(backups)
    backups.sql("update a set b = null; delete from lone")
    changed = state(backups)
    result = restore(made, backups.dsn, schema="beside")
    assert content(backups, schema="beside") == before
    assert "schema beside" in result["made"] and whole != changed
    backups.sql("drop schema beside cascade")
    assert state(backups) == changed, "the live tables are as they were"


def test_one_table_of_a_whole_database_beside(backups: Backups) -> None:
    backups.sql(TWO)
    made = backups.make(format="insert")
    with pytest.raises(UsageError, match="contains 2 tables"):
        restore(made, backups.dsn, tables=("orders",))
    result = restore(made, backups.dsn, tables=("orders",), schema="beside")
    assert result["tables"] == [{"schema": "beside", "name": "orders", "rows": 100}]
    assert result["left"] == ["foreign key to public.users: not moved"]


def test_replacing_takes_the_rows_of_the_backup(backups: Backups) -> None:
    backups.sql(TWO)
    made = backups.make(tables=["users", "orders"])
    before = content(backups, [{"schema": "public", "name": n} for n in ("users", "orders")])
    backups.sql("delete from orders; update users set name = 'x'")
    restore(made, backups.dsn, replace=True)
    assert content(backups, [{"schema": "public", "name": n} for n in ("users", "orders")]) == before
    restore(made, backups.dsn, replace=True, tables=("orders",))
    backups.sql("insert into users (name) values ('new')")
    assert backups.rows("select max(id) from users") == [(101,)]


def test_foreign_keys_to_live_tables_come_back(backups: Backups) -> None:
    backups.sql(TWO)
    made = backups.make(tables=["orders"])
    backups.sql("drop table orders")
    restore(made, backups.dsn)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        backups.sql("insert into orders values (101, 999)")


def test_grants_owners_and_row_security_come_back(backups: Backups, pg_server: Server) -> None:
    role = "planrun_test_reader"
    backups.sql(f"drop role if exists {role}; create role {role}")
    try:
        backups.sql(
            f"{TWO} grant select on users to {role}; alter table orders owner to {role};"
            "alter table users enable row level security"
        )
        made = backups.make(tables=["users", "orders"])
        facts = (
            "select relname, relowner::regrole::text, relacl::text, relrowsecurity "
            "from pg_class where relname in ('users', 'orders') order by 1"
        )
        before = backups.rows(facts)
        restore(made, backups.dsn, replace=True)
        assert backups.rows(facts) == before
        backups.sql("drop table orders, users")
        restore(made, backups.dsn, owners=False)
        assert backups.rows(f"select 1 from pg_class where relowner = '{role}'::regrole") == []
    finally:
        backups.sql(f"drop table if exists orders, users; drop role {role}")


# ------------------------------------------------------------------ what is refused, before anything is touched


def error_of(backups: Backups, made: Made, message: str, kind: type[PlanrunError] = TargetError, **words: Any) -> str:
    before = state(backups)
    with pytest.raises(kind, match=message) as caught:
        restore(made, backups.dsn, **words)
    assert state(backups) == before
    return str(caught.value)


def test_tables_that_are_there(backups: Backups) -> None:
    made = two(backups)
    said = error_of(backups, made, r"public\.orders already exists.*public\.users already exists")
    assert "--as-schema" in said and "--replace" in said
    backups.sql("drop table orders, users; create view users as select 1")
    error_of(backups, made, r"public\.users already exists")
    error_of(backups, made, r"public\.users already exists", replace=True)


def test_dependents_of_what_is_replaced(backups: Backups) -> None:
    made = two(backups)
    backups.sql("create view v as select * from users; create table more (id int references users)")
    said = error_of(backups, made, "view v|more", replace=True)
    assert "more_id_fkey" in said and "view public.v" in said


def test_partitions_made_since_the_backup(backups: Backups) -> None:
    backups.sql(
        "create table p (id int) partition by range (id); create table p1 partition of p for values from (0) to (9)"
    )
    backups.sql("insert into p values (1)")
    made = backups.make(tables=["p"])
    backups.sql("create table p2 partition of p for values from (9) to (99); insert into p values (10)")
    error_of(backups, made, r"public\.p2 would be dropped with its parent", replace=True)


def test_what_is_published(backups: Backups) -> None:
    made = two(backups)
    backups.sql("create publication pub for table users")
    error_of(backups, made, r"publication pub has public\.users", replace=True)


def test_better_protection_than_in_the_backup(backups: Backups) -> None:
    made = two(backups)
    backups.sql("alter table users enable row level security")
    error_of(backups, made, r"public\.users would lose row level security", replace=True)
    backups.sql("alter table users disable row level security; revoke all on users from public")


def test_tables_that_are_referred_to_and_not_there(backups: Backups) -> None:
    backups.sql(TWO)
    made = backups.make(tables=["orders"])
    backups.sql("drop table orders, users")
    error_of(backups, made, r"table public\.users does not exist")
    assert restore(made, backups.dsn, schema="beside")["rows"] == 100


def test_names_that_are_not_in_the_session(backups: Backups) -> None:
    made = two(backups)
    assert "public.users" in error_of(backups, made, "is not in this session", UsageError, tables=("nope",))
    error_of(backups, made, "cannot be replaced in another schema", UsageError, schema="x", replace=True)


@pytest.mark.parametrize("schema", ["public", "storage"])
def test_an_owner_restores_his_own_table_of_a_session_with_those_of_others(schema: str, backups: Backups) -> None:
    """What he may not do with the others does not matter (supabase#10982)."""
    role = "owner_" + backups.dsn.rpartition("t_")[2][:8]
    backups.sql(f"create role {role} login; alter schema public owner to {role}; create schema storage")
    backups.sql(f"create table {schema}.theirs (id int); insert into {schema}.theirs values (1)")
    backups.sql(f"set role {role}; create table mine (id serial primary key); insert into mine default values")
    made = backups.make(tables=[f"{schema}.theirs", "mine"])
    backups.sql("drop table mine")
    dsn = psycopg.conninfo.make_conninfo(backups.dsn, user=role)
    assert restore(made, dsn, tables=("public.mine",))["rows"] == 1
    assert backups.rows("select relowner::regrole::text from pg_class where relname = 'mine'") == [(role,)]
    backups.sql(f"alter schema public owner to current_user; drop owned by {role}; drop role {role}")


def test_a_role_without_rights(backups: Backups) -> None:
    made = two(backups)
    backups.sql(
        "drop role if exists planrun_test_none; create role planrun_test_none login;"
        "revoke create on schema public from public"
    )
    try:
        dsn = psycopg.conninfo.make_conninfo(backups.dsn, user="planrun_test_none")
        before = state(backups)
        with pytest.raises(TargetError, match=r"no right to create in schema public"):
            restore(made, dsn)
        with pytest.raises(TargetError, match=r"not the owner of public\.users"):
            restore(made, dsn, replace=True)
        with pytest.raises(TargetError, match=r"no right to create schema beside"):
            restore(made, dsn, schema="beside")
        assert state(backups) == before
    finally:
        backups.sql("drop role planrun_test_none")


# ------------------------------------------------------------------ what fails half-way


@pytest.mark.parametrize("replaced", [True, False])
def test_a_damaged_session_is_refused_first(replaced: bool, backups: Backups) -> None:
    made = two(backups)
    data = (made.path / "orders.sql").read_bytes()
    (made.path / "orders.sql").write_bytes(data[: len(data) // 2])
    if not replaced:
        backups.sql("drop table orders, users")
    error_of(backups, made, r"orders\.sql", VerifyError, replace=replaced)
    sums(made.path)
    error_of(backups, made, r"orders\.sql: is cut off", VerifyError, replace=replaced)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_that_are_not_those_of_the_snapshot_are_rolled_back(form: str, backups: Backups) -> None:
    made = two(backups, format=form)
    dump = next(path for path in sorted(made.path.glob("orders.*")) if not path.name.endswith(".schema.sql"))
    target = next(path for path in dump.glob("*.dat") if path.name != "toc.dat") if dump.is_dir() else dump
    target.write_bytes(target.read_bytes().replace(b"o42", b"o24"))
    sums(made.path)
    error_of(backups, made, r"rolled back: public\.orders: the content", VerifyError, replace=True)
    error_of(backups, made, r"rolled back: .*orders: the content", VerifyError, schema="beside")


def test_a_broken_statement_is_rolled_back(backups: Backups) -> None:
    made = two(backups)
    text = (made.path / "orders.sql").read_text()
    (made.path / "orders.sql").write_text(text.replace("ADD CONSTRAINT orders_pkey", "ADD CONSTRAIN orders_pkey"))
    sums(made.path)
    error_of(backups, made, "syntax error", replace=True)


def test_a_lock_is_not_waited_for_without_end(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    made = two(backups)
    monkeypatch.setattr("runner.backup.loading.LOCK_TIMEOUT", "200ms")
    with psycopg.connect(backups.dsn) as other:
        other.execute("select * from users")
        with pytest.raises(TargetError, match="lock timeout") as caught:
            restore(made, backups.dsn, replace=True)
        assert caught.value.category == "lock"
    assert backups.rows("select count(*) from orders") == [(100,)]


def test_cancelled_half_way(backups: Backups) -> None:
    made = two(backups)
    before, cancel = state(backups), Cancel()

    def stop(done: int, total: int, unit: str, what: str) -> None:
        if what == "comparing with what was dumped":
            cancel.cancel(Interrupted("^C", signal=2))

    with pytest.raises(Interrupted):
        restore(made, backups.dsn, replace=True, cancel=cancel, progress=stop)
    assert state(backups) == before


def test_killed_half_way(backups: Backups) -> None:
    made = two(backups)
    before = state(backups)
    script = (
        "import sys, time\n"
        "from runner.backup import restoring\n"
        "from runner.database.connections import Connections\n"
        "from runner.model import Restore\n"
        "def wait(done, total, unit, what):\n"
        "    if what.startswith('comparing'): print('now', flush=True); time.sleep(60)\n"
        "restoring.restore(Restore(session=sys.argv[1], replace=True), Connections({}, {'DATABASE_URL': sys.argv[2], "
        "'PATH': '/usr/bin:/bin'}), progress=wait)\n"
    )
    argv = [sys.executable, "-c", script, str(made.path), backups.dsn]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"now\n"
        child.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while time.monotonic() < end and backups.rows(
        "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    ):
        time.sleep(0.05)
    assert state(backups) == before


def through(proxy: FaultProxy, dsn: str) -> str:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(dsn).items()}
    return psycopg.conninfo.make_conninfo(**proxy.words(words))


@pytest.fixture
def proxy(backups: Backups) -> Iterator[FaultProxy]:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(backups.dsn).items()}
    with FaultProxy(target_of(words)) as proxy:
        yield proxy


def test_a_lost_answer_to_commit_is_looked_up(backups: Backups, proxy: FaultProxy) -> None:
    made = two(backups)
    backups.sql("update users set name = 'x'")
    proxy.swallow_on = b"commit;"
    assert restore(made, through(proxy, backups.dsn), replace=True)["rows"] == 200
    assert backups.rows("select count(*) from users where name = 'x'") == [(0,)]


def test_a_commit_that_never_arrived_is_told_as_a_failure(backups: Backups, proxy: FaultProxy) -> None:
    made = two(backups)
    backups.sql("update users set name = 'x'")
    before = state(backups)
    proxy.cut_on = b"commit;"
    with pytest.raises(TargetError) as caught:
        restore(made, through(proxy, backups.dsn), replace=True)
    assert caught.value.category == "connection"
    assert state(backups) == before


def test_a_server_that_does_not_come_back_leaves_the_state_unknown(backups: Backups, proxy: FaultProxy) -> None:
    made = two(backups)
    backups.sql("update users set name = 'x'")
    proxy.swallow_on = b"commit;"

    def watch(done: int, total: int, unit: str, what: str) -> None:
        if what.startswith("comparing"):
            proxy.refuse = True

    with pytest.raises(UnknownStateError, match="pg_xact_status") as caught:
        restore(made, through(proxy, backups.dsn), replace=True, progress=watch)
    assert caught.value.exit_code == 75


# ------------------------------------------------------------------ versions and the kind


def test_dumps_of_18_go_into_15_and_back(backups: Backups, each_version: Server, tmp_path: Path) -> None:
    each_version.create("v")
    source = Backups(each_version.conninfo("v"), tmp_path / "v")
    source.sql(TWO)
    made = source.make(tables=["users", "orders"], format="custom")
    source.sql("drop table orders, users")
    assert restore(made, source.dsn)["rows"] == 200
    major = int(backups.rows("show server_version_num")[0][0]) // 10000
    if each_version.major <= major:
        assert restore(made, backups.dsn)["rows"] == 200


def test_the_kind_takes_the_newest_session(backups: Backups) -> None:
    backups.sql(TWO)
    backups.reader.start_time = datetime.now(UTC)
    made = [backups.make(tables=["users"]) for _ in range(2)]
    params = build(pg_restore.Params, {"from": str(backups.folder), "tables": ["users"], "as_schema": "x"}, Path("/"))
    facts = pg_restore.look(params, backups.reader)
    check, action = pg_restore.render(params, facts, render)
    assert action == Restore(session=str(made[1].path), tables=('"users"',), schema="x")
    assert isinstance(check, Check) and backups.rows(check.text) == []
    result = restoring.restore(action, connections(backups.dsn))
    given = pg_restore.give(params, facts, [{"in_the_way": []}, result])
    assert given["tables"] == [{"schema": "x", "name": "users", "rows": 100}]
    assert backups.rows(check.text) == [("x.users already exists",)]
    with pytest.raises(PlanrunError, match="no complete session yet"):
        pg_restore.look(build(pg_restore.Params, {"from": "/nowhere"}, Path("/")), backups.reader)
    wrong = build(pg_restore.Params, {"from": str(backups.folder), "tables": ["nope"]}, Path("/"))
    with pytest.raises(PlanrunError, match="table nope is not in this session"):
        pg_restore.look(wrong, backups.reader)


def test_readers_are_not_blocked_while_tables_are_put_beside(backups: Backups) -> None:
    made = two(backups)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(backups.rows("select count(*) from users")[0][0])

    reader = threading.Thread(target=read)
    reader.start()
    restore(made, backups.dsn, schema="beside")
    done.set()
    reader.join()
    assert set(seen) == {100}


# ------------------------------------------------------------------ large objects, sequences


@pytest.mark.parametrize("form", ["insert", "custom"])
def test_large_objects_do_not_end_the_transaction_of_a_restore(
    backups: Backups, new_db: Callable[[], str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    backups.sql("create table t as select lo_from_bytea(0, '\\xdeadbeef') as o")
    made, target = backups.make(format=form), new_db()

    def fail_lookup(*_: Any, **__: Any) -> Any:
        raise TargetError("no")

    with monkeypatch.context() as patch, pytest.raises(TargetError, match="no"):
        patch.setattr(restoring, "Comparison", fail_lookup)
        restore(made, target)
    assert Backups(target, made.path).rows("select to_regclass('public.t')::text") == [(None,)]
    restore(made, target)
    assert Backups(target, made.path).rows("select lo_get(o) from t") == [(b"\xde\xad\xbe\xef",)]


def test_a_dump_that_ends_the_transaction_is_not_taken_for_good(db: str) -> None:
    from runner.backup.loading import Loading
    from runner.server import programs

    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    client = programs.client_for(0)
    with (
        Loading(words, os.environ, client, Cancel()) as loading,
        pytest.raises(UnknownStateError, match="ends the transaction"),
    ):
        loading.run([b"create table public.t (n int);\ncommit;\nbegin;\n"])


@pytest.mark.parametrize("schema", ["", "beside"])
def test_sequences_of_csv_tables_stand_where_they_stood(
    backups: Backups, new_db: Callable[[], str], schema: str
) -> None:
    backups.sql(
        "create table s (id serial primary key, i int generated by default as identity (increment -1));"
        "insert into s default values; insert into s default values; delete from s where id = 2"
    )
    made, target = backups.make(tables=["s"], format="csv"), new_db()
    restore(made, target, schema=schema)
    found = Backups(target, made.path)
    for name, value in (("s_id_seq", 2), ("s_i_seq", -2)):
        assert found.rows(f"select last_value, is_called from {schema or 'public'}.{name}") == [(value, True)]


def test_limits_of_the_database_end_neither_a_backup_nor_a_restore(backups: Backups, new_db: Callable[[], str]) -> None:
    """1 s for a statement, a transaction and a wait: what takes longer must not be cut off."""

    def check_limits(one: Backups) -> None:
        for name in ("statement_timeout", "transaction_timeout", "idle_session_timeout"):
            if one.rows(f"select from pg_settings where name = '{name}'"):
                one.sql(
                    f"do $$ begin execute format('alter database %I set {name} = ''1s''', current_database()); end $$"
                )

    backups.sql("create table t as select 1 as n")
    target = Backups(new_db(), backups.folder)
    check_limits(backups)
    check_limits(target)

    def slow(done: int, total: int, unit: str, what: str) -> None:
        if (unit == "writing" and done == total) or what.startswith("comparing"):
            time.sleep(1.3)

    made = backups.make(tables=["t"], progress=slow)
    assert restore(made, target.dsn, progress=slow)["rows"] == 1


# ------------------------------------------------------------------ what hangs on a table

HUNG = """
create table public.u (id int primary key, a int, b text);
create table public.p (id int, a int) partition by range (id);
create table public.p1 partition of public.p for values from (0) to (10);
insert into public.u values (1, 1, 'x'); insert into public.p values (1, 1);
create schema "Stats";
create statistics "Stats"."of u" (ndistinct, dependencies) on id, a from public.u;
comment on statistics "Stats"."of u" is 'it''s mine'; alter statistics "Stats"."of u" set statistics 77;
create statistics public.of_p1 on id, a from public.p1;
create publication "one p" for table public.u; create publication two for table public.p1;
"""
ON_THEM = """
select 'statistics', pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext'),
       to_jsonb(s) ->> 'stxstattarget', stxowner::regrole::text from pg_statistic_ext as s
union all
select 'publication', pubname, prrelid::regclass::text, to_jsonb(r) ->> 'prattrs', null
from pg_publication_rel as r join pg_publication as p on p.oid = prpubid
order by 1, 2, 3
"""


@pytest.mark.parametrize("form", FORMATS)
def test_statistics_and_places_in_publications_come_back(form: str, backups: Backups) -> None:
    backups.sql(HUNG)
    made = backups.make(tables=["u", "p"], format=form)
    before = backups.rows(ON_THEM)
    assert len(before) == 4
    summary = (made.path / "backup-summary.txt").read_text()
    assert 'statistics "Stats"."of u" of public.u' in summary and "psql -X -d DATABASE -f attachments.ddl" in summary
    assert verify(made.path, 3).tables[0].problem == ""
    backups.sql("drop table public.u, public.p")
    assert restore(made, backups.dsn)["left"] == []
    assert backups.rows(ON_THEM) == before
    assert restore(made, backups.dsn, schema="beside")["left"] == [
        'publication "one p" of public.u: not created, because the tables are restored beside the live ones',
        "publication two of public.p1: not created, because the tables are restored beside the live ones",
        'statistics "Stats"."of u" of public.u: not created, because the tables are restored beside the live ones',
        "statistics public.of_p1 of public.p1: not created, because the tables are restored beside the live ones",
    ]


def test_a_publication_that_is_gone_is_told_with_the_statement(backups: Backups) -> None:
    backups.sql(HUNG)
    made = backups.make(tables=["u"])
    backups.sql('drop publication "one p"; drop table public.u')
    assert restore(made, backups.dsn)["left"] == [
        'publication "one p" of public.u: publication "one p" is not in this database; to create it, run: '
        'ALTER PUBLICATION "one p" ADD TABLE ONLY public.u;'
    ]
    assert backups.rows("select count(*) from u") == [(1,)]
