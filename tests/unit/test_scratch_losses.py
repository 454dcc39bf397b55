"""What was lost between two moments of a database, named exactly: by facts, whatever SQL did it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.cancel import Cancel
from runner.database.connections import Connections
from runner.database.deadlines import DeadlineConnection
from runner.scratch import contents, losses
from tests.servers import Server, servers_here

BASE = """
create table users (id int primary key, email text, age numeric(5,2), note text);
insert into users select n, 'user' || n, n + 0.5, case when n > 45 then 'n' || n end from generate_series(1, 50) n;
create table "Log Lines" (line text, "At" int);
insert into "Log Lines" select 'line ' || n % 5, n from generate_series(1, 20) n;
create table empty (n int);
create table bare ();
insert into bare default values;
create schema other;
create table other.users (id int primary key, kind text);
insert into other.users values (1, '007'), (2, '8');
create table parts (id int, at date, primary key (id, at)) partition by range (at);
create table parts_1 partition of parts for values from ('2024-01-01') to ('2025-01-01');
create table parts_2 partition of parts for values from ('2025-01-01') to ('2026-01-01');
insert into parts select n, date '2024-06-01' + n * 20 from generate_series(1, 28) n;
create type mood as enum ('good', 'bad');
create table moods (id int primary key, mood mood);
insert into moods values (1, 'good'), (2, 'bad');
create view few as select n from empty;
create function twice(n int) returns int language sql as 'select 2 * n';
create sequence numbers;
"""

LINES = 'public."Log Lines"'

CASES: dict[str, tuple[str, dict[str, str]]] = {
    "nothing": ("select 1", {}),
    "a table": ("drop table public.bare", {"public.bare": "dropped"}),
    "a table and what needs it": (
        "drop table public.empty cascade",
        {"public.empty": "dropped", "view public.few": "gone"},
    ),
    "a column": ("alter table users drop column email", {"public.users": "column email dropped (50 values)"}),
    "columns, some without a value": (
        "update users set note = null; alter table users drop column note, drop column email",
        {"public.users": "column email dropped (50 values); column note dropped (5 values)"},
    ),
    "rows": ("delete from users where id <= 9", {"public.users": "9 of 50 rows deleted"}),
    "rows without a key": ('delete from "Log Lines" where "At" = 3', {LINES: "1 of 20 rows deleted or changed"}),
    "one row of two that are equal": (
        "insert into bare default values; delete from bare where ctid in (select min(ctid) from bare)",
        {},
    ),
    "truncate": ("truncate users", {"public.users": "all 50 rows deleted"}),
    "emptied without a key": ('delete from "Log Lines"', {LINES: "all 20 rows deleted"}),
    "emptied and filled again with the same": (
        "create temp table t as table users; truncate users; insert into users table t order by id desc",
        {},
    ),
    "emptied and filled again with others": (
        "truncate users; insert into users select n, 'user' || n, n + 0.5 from generate_series(41, 60) n",
        {"public.users": "40 of 50 rows deleted; column note is null in every row (5 values before)"},
    ),
    "values": ("update users set email = lower('X') where id < 4", {"public.users": "column email: 3 values changed"}),
    "values in place of nothing": ("update users set note = 'new' where note is null", {}),
    "values that become null": (
        "update users set email = null",
        {"public.users": "column email is null in every row (50 values before)"},
    ),
    "a type that loses": (
        "alter table users alter age type int",
        {"public.users": "column age made integer, was numeric(5,2) (50 values changed)"},
    ),
    "a type that loses some": (
        "alter table other.users alter kind type int using kind::int",
        {"other.users": "column kind made integer, was text (1 value changed)"},
    ),
    "types that lose nothing": (
        "alter table users alter id type bigint, alter age type numeric(8,4), alter email type varchar(20)",
        {},
    ),
    "a new set of values": (
        "alter table moods alter mood type text; drop type mood; create type mood as enum ('good', 'bad', 'so'); "
        "alter table moods alter mood type mood using mood::mood",
        {},
    ),
    "another name": ("alter table users rename to people; alter table people rename email to mail", {}),
    "another name, then rows": (
        "alter table users rename to people; delete from people where id = 1",
        {"public.users": "1 of 50 rows deleted"},
    ),
    "another schema": ("alter table bare set schema other", {}),
    "made again": (
        "drop table bare; create table bare (n int); insert into bare values (1); create table l (like \"Log Lines\"); "
        'insert into l table "Log Lines"; drop table "Log Lines"; alter table l rename to "Log Lines"',
        {},
    ),
    "made again and filled by half": (
        'drop table "Log Lines"; create table "Log Lines" (line text); insert into "Log Lines" values (\'line 1\')',
        {LINES: "dropped and made again; 19 of 20 rows deleted or changed; column \"At\" dropped (20 values)"},
    ),
    "a column made again": ("alter table users drop column note; alter table users add note text",
        {"public.users": "column note is null in every row (5 values before)"}),
    "written anew without a change": ("cluster users using users_pkey; alter table users set (fillfactor = 50)", {}),
    "a schema": (
        "drop schema other cascade",
        {"other.users": "dropped", "schema other": "gone"},
    ),
    "a partition": ("drop table parts_1", {"public.parts": "10 of 28 rows deleted"}),
    "a partition that stays as a table": ("alter table parts detach partition parts_1", {}),
    "a partitioned table": ("drop table parts", {"public.parts": "dropped"}),
    "other objects": (
        "drop function twice; drop sequence numbers; drop view few; create view few as select n + 1 as m from empty",
        {"function public.twice(n integer)": "gone", "sequence public.numbers": "gone"},
    ),
    "a key that is another one": (
        "alter table users drop constraint users_pkey; alter table users add primary key (email); "
        "delete from users where id = 7",
        {"public.users": "1 of 50 rows deleted or changed"},
    ),
    "rows and a column": (
        "delete from users where id > 40; alter table users drop column age, add column more int default 3",
        {"public.users": "10 of 50 rows deleted; column note is null in every row (5 values before); "
                         "column age dropped (50 values)"},
    ),
}  # fmt: skip


@contextlib.contextmanager
def comparing(db: str, folder: Path) -> Iterator[tuple[DeadlineConnection, Callable[[], losses.Losses]]]:
    """Yield a connection, and what finds the losses since now."""
    connections = Connections({}, {"DATABASE_URL": db})
    with contextlib.closing(connections.open(statement_timeout="0")) as conn:
        yield conn, watching(conn, folder)


def watching(conn: DeadlineConnection, folder: Path) -> Callable[[], losses.Losses]:
    before = contents.read_with_rows(conn, folder, Cancel())
    return lambda: losses.find(conn, before, Cancel())


def run(db: str, text: str) -> None:
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute(text.encode())


def told(found: losses.Losses) -> dict[str, list[str]]:
    others = {f"{one.kind} {one.schema}.{one.name}".replace(" .", " "): ["gone"] for one in found.others}
    return {str(one.full_name): sorted(one.what) for one in found.tables} | others


def words(expected: dict[str, str]) -> dict[str, list[str]]:
    return {name: sorted(what.split("; ")) for name, what in expected.items()}


def test_what_is_lost_is_named_exactly(db: str, tmp_path: Path) -> None:
    """Each case is undone by a ROLLBACK, so that one database is enough."""
    run(db, BASE)
    found = {}
    with comparing(db, tmp_path) as (conn, _):
        for case, (text, _) in CASES.items():
            conn.execute(b"begin")
            find = watching(conn, tmp_path)
            conn.execute(b"set local search_path to public")
            conn.execute(text.encode())
            conn.execute(b"set local search_path to ''")
            found[case] = told(find())
            conn.execute(b"rollback")
    assert found == {case: words(expected) for case, (_, expected) in CASES.items()}


def test_a_type_that_is_gone_is_compared_as_text(db: str, tmp_path: Path) -> None:
    run(db, BASE)
    with comparing(db, tmp_path) as (_, find):
        run(db, "alter table moods alter mood type text; update moods set mood = 'so' where id = 2; drop type mood")
        assert told(find()) == {
            "public.moods": ["column mood made text, was public.mood (1 value changed)"],
            "type public.mood": ["gone"],
        }


def test_new_names_are_told(db: str, tmp_path: Path) -> None:
    run(db, BASE)
    with comparing(db, tmp_path) as (_, find):
        run(db, 'alter table users rename to "People"; alter table "People" rename email to "E-mail"')
        run(db, "alter table parts rename to pieces; alter schema other rename to another")
        found = [(str(one.full_name), one.column, one.now) for one in find().renamed]
    assert sorted(found) == [
        ("other.users", "", "another.users"),
        ("public.parts", "", "public.pieces"),
        ("public.users", "", 'public."People"'),
        ("public.users", "email", '"E-mail"'),
    ]


ROW = st.tuples(st.integers(0, 9), st.one_of(st.none(), st.sampled_from(["", "a", "b\n", "\\N", "ä,"])))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.lists(ROW, max_size=8), new=st.lists(ROW, max_size=8), key=st.booleans())
def test_the_rows_that_are_gone_are_counted(db: str, tmp_path: Path, old: list[Any], new: list[Any], key: bool) -> None:
    """Compared with what Python counts of the same rows."""
    if key:
        old, new = [list(dict(rows).items()) for rows in (old, new)]
    with psycopg.connect(db, autocommit=True) as conn:
        conn.execute("drop table if exists t")
        conn.execute(f"create table t (k int {'primary key' if key else ''}, v text)".encode())
        fill(conn, old)
        with comparing(db, tmp_path) as (_, find):
            conn.execute("truncate t")
            fill(conn, new)
            said = " ".join(told(find()).get("public.t", []))
    if key:
        gone = len({k for k, _ in old} - {k for k, _ in new})
        later = dict(new)
        changed = sum(k in later and v is not None and later[k] != v for k, v in old)
    else:
        left = list(new)
        gone = sum(not (row in left and not left.remove(row)) for row in old)  # type: ignore[func-returns-value]
        changed = 0
    assert bool(said) == bool(gone or changed), (said, gone, changed)
    if gone and gone < len(old):
        assert f"{gone} of {len(old)} rows" in said
    elif gone:
        assert "all" in said or "its one row" in said


def fill(conn: psycopg.Connection[Any], rows: list[Any]) -> None:
    with conn.cursor() as cursor:
        cursor.executemany("insert into t values (%s, %s)", rows)


MAJORS = sorted(servers_here()) or [0]


@pytest.mark.parametrize("each_version", sorted({MAJORS[0], MAJORS[-1]}), indirect=True)
def test_the_oldest_and_the_newest_version_name_the_same(each_version: Server, tmp_path: Path) -> None:
    db = each_version.create("lost_by")
    run(db, BASE)
    with comparing(db, tmp_path) as (_, find):
        run(db, "alter table users alter age type int; drop table parts_1; drop schema other cascade")
        found = told(find())
    assert found == {
        "other.users": ["dropped"],
        "schema other": ["gone"],
        "public.parts": ["10 of 28 rows deleted"],
        "public.users": ["column age made integer, was numeric(5,2) (50 values changed)"],
    }
