"""What is compared, and how a difference is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.errors import PlanrunError, TargetError, VerifyError
from runner.model import Compare, Proof
from runner.shadow import comparing

COUNT = "select count(*) as rows, null::text as checksum from public.{}"
CONTENT = "select count(*) as rows, coalesce(sum(n), 0)::text as checksum from public.{}"


@pytest.fixture
def conn(db: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(db, autocommit=True) as made:
        made.execute("create table public.a (n int); insert into a select generate_series(1, 3)")
        made.execute("create table public.b (n int); insert into b select generate_series(1, 3)")
        yield made


def compare(db: str, *proofs: Proof, jobs: int = 2, cancel: Cancel | None = None) -> dict[str, Any]:
    told: list[tuple[int, int, str, str]] = []
    connections = Connections({}, {"DATABASE_URL": db})
    action = Compare(connection="", proofs=proofs, jobs=jobs)
    found = comparing.compare(action, connections, cancel=cancel or Cancel(), progress=lambda *one: told.append(one))
    names = {str(one.full_name) for one in proofs}
    assert {what for *_, what in told if what} == names, "each table is named when it is read"
    return found


def proof(name: str = "a", query: str = CONTENT, **more: Any) -> Proof:
    return Proof(schema="public", name=name, query=query.format(name), **more)


def test_what_matches_is_given_in_order(db: str, conn: psycopg.Connection[Any]) -> None:
    found = compare(db, proof(rows=3, checksum="6"), proof("b", COUNT, rows=3), proof("b"), jobs=8)
    measures = found.pop("measures")
    assert found == {
        "tables": [{"schema": "public", "name": name, "rows": 3} for name in ("a", "b", "b")],
        "count": 3,
        "rows": 9,
    }
    assert [(one["name"], one["rows"], one["checksum"]) for one in measures] == [
        ("a", 3, "6"),
        ("b", 3, None),
        ("b", 3, "6"),
    ]
    assert all(0 <= one["seconds"] < 60 for one in measures)
    assert compare(db) == {"tables": [], "count": 0, "rows": 0, "measures": []}


def test_every_difference_is_told_with_what_was_expected_and_found(db: str, conn: psycopg.Connection[Any]) -> None:
    with pytest.raises(VerifyError) as caught:
        compare(db, proof(rows=4), proof("b", rows=3, checksum="7"), proof("b", rows=3))
    assert caught.value.exit_code == 6
    assert caught.value.message == (
        "2 tables differ: public.a has 3 rows instead of the 4 that the load recorded; "
        "public.b has other content than the load recorded, in 3 rows (sum 6, expected 7)"
    )


def test_what_goes_before_is_done_in_the_same_snapshot(db: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("insert into a values (4)")
    first = "insert into public.b select n from public.a where not exists (select from public.b where b.n = a.n)"
    compare(db, proof("b", other=CONTENT.format("a"), first=first))
    assert conn.execute("select count(*) from b").fetchone() == (4,)
    with pytest.raises(VerifyError, match="b has 4 rows instead of the 3 in the live table"):
        compare(db, proof("b", other=CONTENT.format("a"), first="delete from public.a where n = 1"))


def test_what_met_somebody_elses_write_is_done_once_more(db: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("create sequence times")
    first = "do $$ begin if nextval('public.times') < {} then raise serialization_failure; end if; end $$"
    assert compare(db, proof(first=first.format(3), rows=3))["rows"] == 3
    with pytest.raises(TargetError, match="40001"):
        compare(db, proof(first=first.format(100)))
    assert conn.execute("select nextval('times')").fetchone() == (7,)  # three times each, and this one


def test_an_error_stops_the_others_and_names_the_table(db: str, conn: psycopg.Connection[Any]) -> None:
    with pytest.raises(TargetError, match=r'relation "public.nothing" does not exist') as caught:
        compare(db, proof("nothing"), *[proof() for _ in range(20)])
    assert caught.value.where == "public.nothing"


def test_it_can_be_stopped(db: str, conn: psycopg.Connection[Any]) -> None:
    cancel = Cancel()
    threading.Timer(0.3, lambda: cancel.cancel(PlanrunError("enough"))).start()
    with pytest.raises(PlanrunError, match="enough"):
        compare(db, proof(query="select 1 as rows, pg_catalog.pg_sleep(60)::text as checksum -- {}"), cancel=cancel)


def test_hidden_rows_are_an_error_and_not_fewer_rows(db: str, conn: psycopg.Connection[Any]) -> None:
    conn.execute("alter table a enable row level security")
    conn.execute("drop role if exists planrun_compare; create role planrun_compare login")
    conn.execute("grant select on a to planrun_compare")
    try:
        with pytest.raises(TargetError, match="row-level security"):
            compare(psycopg.conninfo.make_conninfo(db, user="planrun_compare"), proof(rows=0))
    finally:
        conn.execute("drop owned by planrun_compare; drop role planrun_compare")
