"""Schema planrun: made part by part, open to nobody else, and refused when a newer planrun made it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner.errors import TargetError
from runner.refresh import ledger, planrun_schema
from runner.refresh.planrun_schema import FORMAT, Part, Present

Conn = psycopg.Connection[dict[str, Any]]


@pytest.fixture
def conn(db: str) -> Iterator[Conn]:
    with psycopg.Connection[dict[str, Any]].connect(db, autocommit=True, row_factory=dict_row) as opened:
        opened.execute("set search_path = ''")
        yield opened


def check(conn: Conn, *, looking: bool = False) -> Present:
    return planrun_schema.check(lambda text: conn.execute(text).fetchall(), looking=looking)


def test_nothing_is_there_at_first(conn: Conn) -> None:
    assert check(conn) == Present()


@pytest.mark.parametrize("parts", [("journal", "ledger"), ("ledger", "journal")], ids=" then ".join)
def test_each_part_is_made_once(conn: Conn, parts: tuple[Part, Part]) -> None:
    first, second = parts
    conn.execute(planrun_schema.create(first, check(conn)))
    present = check(conn)
    assert present.schema and getattr(present, first) and not getattr(present, second)
    assert planrun_schema.create(first, present) == ""
    assert "create schema" not in planrun_schema.create(second, present)
    conn.execute(planrun_schema.create(second, present))
    assert check(conn) == Present(schema=True, journal=True, ledger=True)
    formats = conn.execute(
        "select pg_catalog.obj_description(c.oid, 'pg_class') as told from pg_catalog.pg_class as c "
        "join pg_catalog.pg_namespace as n on n.oid = c.relnamespace where n.nspname = 'planrun' and c.relkind = 'r'"
    ).fetchall()
    assert len(formats) == 3
    assert all(row["told"].startswith(f"planrun, format {FORMAT}: ") for row in formats)


def test_what_0_1_made_is_taken(conn: Conn) -> None:
    conn.execute(planrun_schema.create("ledger"))
    conn.execute("comment on table planrun.refresh is 'planrun: one row for each refresh'")
    conn.execute("comment on table planrun.member is null")
    assert check(conn).ledger
    assert ledger.read(lambda text: conn.execute(text).fetchall()) == ()


@pytest.mark.parametrize("table", ["journal", "refresh", "member"])
def test_a_newer_format_is_refused_by_all_who_read_it(conn: Conn, table: str) -> None:
    for part in ("journal", "ledger"):
        conn.execute(planrun_schema.create(part, check(conn)))
    conn.execute(f"comment on table planrun.{table} is 'planrun, format {FORMAT + 1}: and more'".encode())
    for looking in (False, True):
        with pytest.raises(TargetError, match=rf"newer planrun .* format is {FORMAT + 1}, but this planrun knows"):
            check(conn, looking=looking)
    with pytest.raises(TargetError, match="newer planrun"):
        ledger.read(lambda text: conn.execute(text).fetchall(), looking=True)
