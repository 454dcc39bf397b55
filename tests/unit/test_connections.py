"""The door to PostgreSQL: which words win, safe settings, deadlines, and errors that are ours and hold no secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import psycopg
import pytest

from runner.cancel import Cancel
from runner.database.connections import Connections, in_transaction, set_limits, target_error, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import ConnectError, PlanrunError, TargetError

STAGING = {"host": "staging.example", "hostaddr": "192.0.2.7", "port": "6432", "sslmode": "verify-full"}


@pytest.mark.parametrize(
    ("words", "env", "name", "wanted"),
    [
        ({"prod": STAGING}, {"DATABASE_URL": "host=d"}, "prod", STAGING),
        ({"prod": STAGING}, {"PLANRUN_PROD_URL": "host=u dbname=x"}, "prod", {"host": "u", "dbname": "x"}),
        ({"prod": STAGING}, {"PLANRUN_PROD_URL": ""}, "prod", STAGING),
        ({"prod": {}}, {"DATABASE_URL": "postgresql://me@d:7/x"}, "prod",
         {"host": "d", "port": "7", "user": "me", "dbname": "x"}),
        ({"prod": {}}, {"DATABASE_URL": "host=d", "PLANRUN_PROD_URL": "host=u"}, "prod", {"host": "u"}),
        ({"prod": {}}, {"DATABASE_URL": "host=d", "PLANRUN_PROD_URL": ""}, "prod", {"host": "d"}),
        ({}, {"DATABASE_URL": "host=d"}, "", {"host": "d"}),
        ({}, {"PLANRUN_TARGET_URL": "host=u"}, "", {}),
        ({"target": {"host": "t"}, "source": {"host": "s"}}, {}, "", {"host": "t"}),
        ({"only": {"host": "o"}}, {"PLANRUN_ONLY_URL": "host=u"}, "", {"host": "u"}),
        ({"a": {"host": "a"}, "b": {"host": "b"}}, {"DATABASE_URL": "host=d"}, "", {"host": "d"}),
    ],
)  # fmt: skip
def test_which_words_win(
    words: Mapping[str, Mapping[str, str]], env: dict[str, str], name: str, wanted: Mapping[str, str]
) -> None:
    found = Connections(words, env).words(name)
    limits = Connections({"x": {}}, {}).words("x")
    assert {key: value for key, value in found.items() if key not in limits} == dict(wanted)


def test_every_connection_has_deadlines_that_the_plan_may_change() -> None:
    words = Connections({"p": {"connect_timeout": "3"}}, {}).words("p")
    assert words["connect_timeout"] == "3" and int(words["tcp_user_timeout"]) > 0
    idle, interval, count = (int(words[f"keepalives_{name}"]) for name in ("idle", "interval", "count"))
    assert idle + interval * count <= 60
    words = Connections({"p": {"keepalives_idle": "2", "keepalives_interval": "1"}}, {}).words("p")
    assert words["tcp_user_timeout"] == "5000", "on Linux the longer one would win"
    assert Connections({"p": {"tcp_user_timeout": "0"}}, {}).words("p")["tcp_user_timeout"] == "0"


def test_the_environment_goes_before_our_defaults() -> None:
    assert "connect_timeout" not in Connections({}, {"PGCONNECT_TIMEOUT": "3"}).words()
    words = Connections({"p": {"connect_timeout": "7"}}, {"PGCONNECT_TIMEOUT": "3"}).words("p")
    assert words["connect_timeout"] == "7"


def test_libpq_reads_the_rest_from_pg_variables(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(db).items()}
    for key, value in words.items():
        monkeypatch.setenv({"dbname": "PGDATABASE"}.get(key, f"PG{key.upper()}"), value)
    with Connections({}, {}).open() as conn:
        assert conn.info.dbname == words["dbname"]


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@[bad/x", "password=s3cret host", "s3cret"])
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConnectError) as found:
        Connections({}, {"DATABASE_URL": url}).words()
    assert "DATABASE_URL" in str(found.value) and "s3cret" not in str(found.value)
    assert found.value.exit_code == 4


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:1/x",
        "postgresql://me:s3cret@127.0.0.1:1/x?connect_timeout=1",
        "host=no-such-host.invalid password=s3cret",
    ],
)
def test_no_server_is_exit_code_4_with_a_hint_and_no_secret(url: str) -> None:
    with pytest.raises(ConnectError) as found:
        Connections({}, {"DATABASE_URL": url}).open()
    error = found.value
    assert (error.exit_code, error.category) == (4, "connection") and error.hint
    whole: BaseException | None = error
    while whole is not None:
        assert "s3cret" not in str(whole)
        whole = whole.__cause__


@pytest.fixture
def connections(db: str) -> Connections:
    return Connections({}, {"DATABASE_URL": db}, application="planrun/r1/1@h" + "x" * 99)


def setting(conn: psycopg.Connection[dict[str, str]], name: str) -> str:
    row = conn.execute("select current_setting(%s) as it", [name]).fetchone()
    assert row
    return row["it"]


def test_our_own_queries_see_no_schema_of_a_user(connections: Connections) -> None:
    with connections.open() as conn:
        assert setting(conn, "search_path") in ('""', "") and setting(conn, "timezone") == "UTC"
        assert setting(conn, "datestyle").startswith("ISO") and setting(conn, "lock_timeout") == "10s"
        assert setting(conn, "application_name").startswith("planrun/r1/")
        assert conn.autocommit and not in_transaction(conn)


def test_the_sql_of_a_user_sees_its_own_search_path(connections: Connections, db: str) -> None:
    with psycopg.connect(db, autocommit=True) as admin:
        admin.execute("do $$ begin execute format('alter database %I set search_path = mine', current_database());"
                      " end $$")  # fmt: skip
    with connections.open(own_path=False) as conn:
        assert setting(conn, "search_path") == "mine" and setting(conn, "lock_timeout") == "10s"
        conn.execute("discard all")
        assert setting(conn, "lock_timeout") == "0"
        set_limits(conn, own_path=False)
        assert setting(conn, "lock_timeout") == "10s"


def test_read_only_is_read_only(connections: Connections) -> None:
    with (
        connections.open(read_only=True, statement_timeout="1s") as conn,
        pytest.raises(TargetError) as found,
        translate_errors(),
    ):
        assert setting(conn, "statement_timeout") == "1s"
        conn.execute("create table t ()")
    assert found.value.sqlstate == "25006"


def test_categories_are_those_that_retry_names(db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn, psycopg.connect(db) as other:
        conn.execute("create table t (n int)")
        other.execute("lock table t")
        conn.execute("set lock_timeout = '10ms'; set statement_timeout = '50ms'")
        for sql, category in (("lock table t", ""), ("select pg_sleep(9)", "timeout"), ("select 1/0", "")):
            with pytest.raises(psycopg.Error) as found:
                conn.execute(f"begin; {sql}" if sql.startswith("lock") else sql)
            conn.execute("rollback")
            error = target_error(found.value, "step a")
            assert error.category == ("lock" if sql.startswith("lock") else category)
            assert error.where == "step a" and error.sqlstate == found.value.sqlstate
        pid = other.info.backend_pid
        conn.execute("set statement_timeout = 0")
        conn.execute("select pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(psycopg.Error) as found:
            other.execute("select 1")
    assert target_error(found.value).category == "connection"
    assert target_error(psycopg.OperationalError()).category == "connection"
    assert target_error(psycopg.errors.DeadlockDetected()).category == "deadlock"
    assert target_error(psycopg.errors.SerializationFailure()).category == "deadlock"


def test_an_error_about_data_repeats_no_values_unless_asked_to(db: str) -> None:
    with psycopg.connect(db) as conn, pytest.raises(TargetError) as found, translate_errors("here"):
        conn.execute("create table t (n int primary key); insert into t values (77177), (77177)")
    assert str(found.value).startswith('here: PR0404 duplicate key value violates unique constraint "t_pkey"')
    assert "77177" not in str(found.value)
    cause = found.value.__cause__
    assert isinstance(cause, psycopg.Error) and "(n)=(77177)" in str(target_error(cause, detail=True))


def test_our_sessions_set_what_our_queries_rest_on(db: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"alter database {name} set quote_all_identifiers = on".encode())
        conn.execute(f"alter database {name} set jit = on".encode())
    text = "select current_setting('jit') as jit, current_setting('quote_all_identifiers') as quoted"
    with Connections({}, {"DATABASE_URL": db}).open() as conn:
        assert conn.execute(text).fetchall() == [{"jit": "off", "quoted": "off"}]
    with Connections({}, {"DATABASE_URL": db}).open(own_path=False) as conn:
        assert conn.execute(text).fetchall() == [{"jit": "on", "quoted": "on"}], "SQL of a plan runs as the role has it"


@pytest.mark.parametrize(
    "text",
    [
        "select 'alice@example.org 77177'::int",
        "select '9977177999'::int",
        "select '2026-77177-99'::date",
        "select '{77177'::int[]",
        "create table k (n int check (n < 5)); insert into k values (77177)",
        "create table k (n int not null, m int); insert into k values (null, 77177)",
        "create table k (n varchar(2)); insert into k values ('77177')",
        "create table k (n int); insert into k values (77177), (77177); create unique index on k (n)",
        "create table p (n int primary key); create table c (n int references p); insert into c values (77177)",
    ],
)
def test_no_value_of_a_row_is_in_an_error(db: str, text: str) -> None:
    with psycopg.connect(db) as conn, pytest.raises(TargetError) as found, translate_errors("here"):
        conn.execute(text.encode())
    assert "77177" not in str(found.value) and "alice" not in str(found.value)


# ------------------------------------------------------------------ stopping


def test_a_statement_is_cancelled_and_the_reason_is_raised(connections: Connections) -> None:
    cancel, began = Cancel(), time.monotonic()
    threading.Timer(0.1, cancel.cancel, [PlanrunError("stop")]).start()
    with connections.open() as conn:
        with pytest.raises(PlanrunError, match="stop"), cancellable(conn, cancel):
            conn.execute("select pg_catalog.pg_sleep(30)")
        assert time.monotonic() - began < 5
        assert conn.execute("select 1 as one").fetchall() == [{"one": 1}], "nothing of it hits what comes later"


def test_a_request_between_two_statements_stops_the_next_one(connections: Connections) -> None:
    cancel, began = Cancel(), time.monotonic()
    with connections.open() as conn:
        with pytest.raises(PlanrunError, match="stop"), cancellable(conn, cancel):
            conn.execute("select 1")
            cancel.cancel(PlanrunError("stop"))
            time.sleep(0.1)  # the request reaches a session that runs nothing
            conn.execute("select pg_catalog.pg_sleep(30)")
        assert time.monotonic() - began < 5


def test_what_ends_in_spite_of_a_cancel_is_stopped_all_the_same(connections: Connections) -> None:
    cancel = Cancel()
    with connections.open() as conn, pytest.raises(PlanrunError, match="stop"), cancellable(conn, cancel):
        conn.execute("select 1")
        cancel.cancel(PlanrunError("stop"))
    with connections.open() as conn, pytest.raises(PlanrunError, match="stop"), cancellable(conn, cancel):
        raise AssertionError("the block was entered")


def test_a_host_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "no-such-host.invalid")
    with pytest.raises(ConnectError) as caught:
        Connections({}, {"PGHOST": "no-such-host.invalid"}).open()
    assert "no-such-host.invalid" in caught.value.message and "None" not in caught.value.message


def test_what_libpq_repeats_is_left_out() -> None:
    with pytest.raises(ConnectError) as caught:
        Connections({}, {"DATABASE_URL": "host=127.0.0.1 port=1"}).open()
    assert caught.value.message == (
        'cannot connect: connection to server at "127.0.0.1", port 1 failed: Connection refused'
    )
