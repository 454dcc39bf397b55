"""The relay: what COPY sends arrives; either side may fail, hang or be cut; a cancel is answered at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import pq
from psycopg.rows import dict_row

from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError
from runner.shadow.relay import relay

Conn = psycopg.Connection[dict[str, Any]]
OUT = "copy public.t to stdout (format binary)"
INTO = "copy public.t from stdin (format binary)"


def open_connection(db: str) -> Conn:
    conn = psycopg.connect(db, autocommit=True, row_factory=dict_row)
    conn.execute("set client_min_messages = error")
    return conn


@pytest.fixture
def pair(new_db: Callable[[], str]) -> Iterator[tuple[Conn, Conn]]:
    with open_connection(new_db()) as source, open_connection(new_db()) as target:
        for conn in (source, target):
            conn.execute("create table t (id int, body text)")
        yield source, target


def usable_or_closed(*conns: Conn) -> bool:
    for conn in conns:
        if not conn.closed:
            conn.execute("rollback")
            assert conn.execute("select 1 as one").fetchall() == [{"one": 1}]
    return True


def test_rows_arrive_as_they_are(pair: tuple[Conn, Conn]) -> None:
    source, target = pair
    source.execute("insert into t select n, repeat(md5(n::text), n % 300) from generate_series(1, 3000) as n")
    source.execute("insert into t values (null, null), (0, E'\\\\. \\t\\n\\u00e9')")
    seen = list[bytes]()
    assert relay(source, target, OUT, INTO, Cancel(), lambda piece, rows: seen.append(piece)) == 3002
    both = [conn.execute("select * from t order by id, body").fetchall() for conn in pair]
    assert both[0] == both[1]
    assert b"".join(seen).startswith(b"PGCOPY\n") and sum(map(len, seen)) > 3000 * 100
    assert (
        relay(source, target, "copy t to stdout", "copy t from stdin", Cancel(), lambda piece, rows: seen.append(piece))
        == 3002
    )


def test_an_empty_table_has_no_rows(pair: tuple[Conn, Conn]) -> None:
    assert relay(*pair, OUT, INTO, Cancel(), lambda piece, rows: None) == 0
    assert usable_or_closed(*pair)


@pytest.mark.parametrize("rows", [10, 200_000])
def test_an_error_of_the_source_is_told(pair: tuple[Conn, Conn], rows: int) -> None:
    source, target = pair
    out = f"copy (select n, (100 / ({rows} - n))::text from generate_series(1, {rows}) as n) to stdout (format binary)"
    with pytest.raises(TargetError, match="division by zero"):
        relay(source, target, out, INTO, Cancel(), lambda piece, rows: None)
    assert usable_or_closed(*pair)
    assert target.execute("select count(*) as n from t").fetchall() == [{"n": 0}]


def test_an_error_of_the_target_stops_the_source(pair: tuple[Conn, Conn]) -> None:
    source, target = pair
    target.execute("alter table t add check (id <> 100)")
    out = "copy (select n, repeat('x', 1000) from generate_series(1, 10000000) as n) to stdout (format binary)"
    began = time.monotonic()
    with pytest.raises(TargetError, match="violates check constraint"):
        relay(source, target, out, INTO, Cancel(), lambda piece, rows: None)
    assert time.monotonic() - began < 5
    assert usable_or_closed(*pair)


def test_a_statement_that_does_not_begin_is_told(pair: tuple[Conn, Conn]) -> None:
    with pytest.raises(TargetError, match="nowhere"):
        relay(*pair, "copy nowhere to stdout", INTO, Cancel(), lambda piece, rows: None)
    with pytest.raises(TargetError, match="nowhere"):
        relay(*pair, OUT, "copy nowhere from stdin", Cancel(), lambda piece, rows: None)
    assert usable_or_closed(*pair)


@pytest.mark.parametrize("side", [0, 1])
def test_a_side_that_is_cut_is_told(pair: tuple[Conn, Conn], side: int, db: str) -> None:
    pid = pair[side].info.backend_pid
    out = "copy (select n, repeat('x', 1000) from generate_series(1, 100000000) as n) to stdout (format binary)"

    def cut() -> None:
        time.sleep(0.3)
        with psycopg.connect(db, autocommit=True) as conn:
            conn.execute("select pg_terminate_backend(%s)", (pid,))

    threading.Thread(target=cut).start()
    with pytest.raises(TargetError) as caught:
        relay(*pair, out, INTO, Cancel(), lambda piece, rows: None)
    assert caught.value.category == "connection"
    assert usable_or_closed(*pair)


@pytest.mark.parametrize("stuck", ["source", "target"])
def test_a_stuck_copy_is_cancelled_within_a_second(pair: tuple[Conn, Conn], stuck: str, db: str) -> None:
    source, target = pair
    out, into = OUT, INTO
    if stuck == "source":
        out = "copy (select 1, 'x' from pg_sleep(60)) to stdout (format binary)"
    else:
        out = "copy (select n, repeat('x', 1000) from generate_series(1, 100000000) as n) to stdout (format binary)"
        target.execute(
            "create function slow() returns trigger language plpgsql as $$begin perform pg_sleep(60); return new; end$$"
        )
        target.execute("create trigger slow before insert on t for each row execute function slow()")
    cancel = Cancel()
    threading.Timer(0.3, cancel.cancel, [Interrupted("told to stop", signal=2)]).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        relay(source, target, out, into, cancel, lambda piece, rows: None)
    assert time.monotonic() - began < 1.3
    assert source.pgconn.transaction_status != pq.TransactionStatus.ACTIVE
