"""A statement is answered in time or its connection is given up; long work is left alone until somebody says stop."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from runner.database.connections import Connections, answer_timeout, target_error
from runner.errors import UsageError

SLEEP = "select pg_catalog.pg_sleep({})"


@pytest.fixture
def connections(db: str) -> Connections:
    return Connections({}, {"DATABASE_URL": db, "PLANRUN_ANSWER_TIMEOUT": "1s"})


def test_a_statement_that_is_not_answered_ends_the_connection(connections: Connections) -> None:
    began = time.monotonic()
    with connections.open(statement_timeout="0") as conn, pytest.raises(psycopg.OperationalError) as caught:
        conn.execute(SLEEP.format(30))
    assert time.monotonic() - began < 10
    assert conn.closed and connections.response_deadline().silent
    error = target_error(caught.value)
    assert error.category == "connection" and error.message == "connection lost: the server did not answer for 1 s"


def test_the_server_is_asked_to_stop_before_that(connections: Connections) -> None:
    with connections.open() as conn:
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute(SLEEP.format(30))
        assert conn.execute("select 1 as one").fetchall() == [{"one": 1}]


def test_what_goes_on_saying_something_takes_as_long_as_it_takes(connections: Connections) -> None:
    rows = f"select n, pg_catalog.repeat('x', 20000), ({SLEEP.format(0.02)})::text from generate_series(1, 120) as n"
    with connections.open(statement_timeout="0") as conn:
        assert len(conn.execute(rows).fetchall()) == 120


def test_long_work_is_left_alone_and_can_be_given_up(connections: Connections) -> None:
    with connections.open(statement_timeout="0") as conn, conn.without_deadline():
        conn.execute(SLEEP.format(1.5))
        threading.Timer(0.2, conn.give_up).start()
        with pytest.raises(psycopg.OperationalError):
            conn.execute(SLEEP.format(30))


def test_a_session_with_a_limit_of_its_own_has_it_always(connections: Connections) -> None:
    with connections.open(statement_timeout="1s") as conn, conn.without_deadline():
        conn.execute("set statement_timeout = 0")
        with pytest.raises(psycopg.OperationalError, match="did not answer for 1 s"):
            conn.execute(SLEEP.format(30))


def test_an_answer_to_one_is_an_answer_to_all(connections: Connections) -> None:
    response_deadline = connections.response_deadline()
    response_deadline.silent = True
    with connections.open() as conn:
        conn.execute("select 1")
    assert not response_deadline.silent and response_deadline.silence < 5


@pytest.mark.parametrize(("text", "seconds"), [("", 60), ("90", 90), ("2min", 120), ("1.5s", 1.5)])
def test_how_long_a_server_may_take(text: str, seconds: float) -> None:
    assert answer_timeout({"PLANRUN_ANSWER_TIMEOUT": text}) == seconds


@pytest.mark.parametrize("text", ["soon", "0", "100ms", "3d", "-1"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="PLANRUN_ANSWER_TIMEOUT") as caught:
        answer_timeout({"PLANRUN_ANSWER_TIMEOUT": text})
    assert caught.value.exit_code == 64 and "PLANRUN_ANSWER_TIMEOUT=60s" in caught.value.hint
