"""Copying rows into shadows: one snapshot, frozen rows, all or nothing for each table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from runner.cancel import Cancel
from runner.errors import PlanrunError, TargetError
from runner.model import Copied, Refill
from runner.shadow import refilling
from tests.preserved import Live


@pytest.fixture
def live(db: str) -> Iterator[Live]:
    with closing(Live(db)) as made:
        made.sql("create schema planrun_shadow_public")
        yield made


def copy_action(name: str, **more: Any) -> Copied:
    given = {
        "schema": "public", "name": name, "first": f"truncate planrun_shadow_public.{name}",
        "out": f"copy (select * from public.{name}) to stdout (format binary)",
        "into": f"copy planrun_shadow_public.{name} from stdin (format binary, freeze)",
    }  # fmt: skip
    return Copied(**{**given, **more})


def refill(
    live: Live, *tables: Copied, jobs: int = 2, cancel: Cancel | None = None
) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []

    def progress(done: int, total: int, unit: str, what: str) -> None:
        told.append(f"{done}/{total} {unit}: {what}")

    action = Refill(connection="", tables=tables, jobs=jobs)
    return refilling.refill(action, live.connections, cancel=cancel or Cancel(), progress=progress), told


def make(live: Live, *names: str, rows: int = 100) -> None:
    for name in names:
        live.sql(f"create table {name} (id int primary key, v text)")
        live.sql(f"create table planrun_shadow_public.{name} (like {name} including all)")
        live.sql(f"insert into {name} select n, repeat('é', n) from generate_series(1, {rows}) n")


def test_rows_and_what_is_told_of_them(live: Live) -> None:
    make(live, "a", "b", "c")
    live.sql("insert into planrun_shadow_public.a values (7)")
    live.sql("delete from c; create table said (what text, rows int, xid text)")
    after = "insert into public.said values ('a', {rows}, '{xid}')"
    result, told = refill(live, copy_action("a", after=after), copy_action("b"), copy_action("c"))
    assert [(one["name"], one["rows"]) for one in result["tables"]] == [("a", 100), ("b", 100), ("c", 0)]
    assert (result["count"], result["rows"]) == (3, 200)
    sizes = {one["name"]: one["bytes"] for one in result["measures"]}
    assert sizes["a"] == sizes["b"] > 200 > sizes["c"] and all(one["seconds"] > 0 for one in result["measures"])
    assert [live.differing_tables(name) for name in "abc"] == [[], [], []]
    reached = [tuple(map(int, one.partition(" ")[0].split("/"))) for one in told]
    assert max(reached)[0] == max(reached)[1] > 0 and min(reached)[0] == 0
    [(rows, xid)] = live.sql("select rows, xid from said")
    assert (rows, live.sql("select distinct xmin::text from planrun_shadow_public.a")) == (100, [(xid,)])


def test_an_older_snapshot_sees_the_rows(live: Live, db: str) -> None:
    make(live, "a")
    with psycopg.connect(db) as reader:
        reader.execute("set transaction isolation level repeatable read")
        reader.execute("select 1")
        refill(live, copy_action("a"))
        assert reader.execute("select count(*) from planrun_shadow_public.a").fetchone() == (100,)


def test_all_tables_are_of_one_moment(live: Live) -> None:
    make(live, "a", "b")
    both = "insert into public.a values (1000); insert into public.b values (1000)"
    result, _ = refill(live, copy_action("a", after=both), copy_action("b"), jobs=1)
    assert result["rows"] == 200


def test_a_failure_leaves_the_table_as_it_was(live: Live) -> None:
    make(live, "a", "b")
    live.sql("insert into planrun_shadow_public.a values (7, 'as it was')")
    live.sql("alter table planrun_shadow_public.a add check (id < 50 or v is null)")
    with pytest.raises(TargetError, match="violates check") as caught:
        refill(live, copy_action("a"), copy_action("b"))
    assert caught.value.where == "public.a" or "a" in str(caught.value)
    assert live.sql("select * from planrun_shadow_public.a") == [(7, "as it was")]


def test_a_failure_of_what_goes_before_or_behind(live: Live) -> None:
    make(live, "a")
    for more in (
        {"first": "select 1 / 0"},
        {"after": "select 1 / 0"},
        {"out": "copy nosuch to stdout (format binary)"},
    ):
        with pytest.raises(TargetError):
            refill(live, copy_action("a", **more))
    assert live.sql("select count(*) from planrun_shadow_public.a") == [(0,)]


def test_it_can_be_cancelled(live: Live) -> None:
    make(live, "a")
    cancel = Cancel()
    cancel.cancel(PlanrunError("enough"))
    with pytest.raises(PlanrunError, match="enough"):
        refill(live, copy_action("a"), cancel=cancel)
    assert live.sql("select count(*) from planrun_shadow_public.a") == [(0,)]


def test_hidden_rows_are_an_error(live: Live, db: str) -> None:
    make(live, "a")
    role = f"owner_{live.conn.info.dbname}"
    live.sql(
        f"create role {role} login; alter table a owner to {role}; grant all on schema planrun_shadow_public to {role}"
    )
    live.sql(f"alter table planrun_shadow_public.a owner to {role}")
    live.sql("alter table a enable row level security, force row level security")
    other = Live(f"{db} user={role}")
    try:
        with pytest.raises(TargetError, match="row-level security"):
            refill(other, copy_action("a"))
    finally:
        other.close()
        live.sql(f"drop owned by {role} cascade; drop role {role}")
