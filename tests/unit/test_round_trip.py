"""shadow.round_trip: texts that differ only by a round through the server are alike, and others are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from runner import resources
from runner.safesql.templates import Templates
from runner.shadow.round_trip import RoundTrip, key_of
from runner.shadow.structure import unlike
from runner.table_name import TableName
from tests.servers import Server

# Each is written otherwise by PostgreSQL than it is here, and most of them otherwise again when that is read back.
CHECKS = (
    "s in ('a', 'b')", "s not in ('a', 'b')", "s = any (array['a', 'b'])", "c in ('a', 'b')", "b in (true)",
    "s between 'a' and 'z' or n between -1 and 1.5", "n in (1, -2, 3.5)", "d in ('2020-01-01', date '2021-01-01')",
    "i > interval '1 day' - '1 hour'", "s like 'a%' and s ilike '%b' and s not similar to '(x|y)%'",
    "coalesce(s, 'x') <> '' and nullif(n, -1) is distinct from 0", "case s when 'a' then n > 0 else n < 0 end",
    "(s, n) <> ('a', 1)", "s collate \"C\" < 'b'", "e in ('one', 'it''s')", "e::text = any ('{one,two}')",
    "x @> array['a', 'b']::varchar[]", "p in ('ab', 'cd')", "upper(s) in ('A', 'B') and length(s) = any ('{1,2}')",
    "j ->> 'k' in ('a', 'b') and j @> '{\"a\": 1}'", "extract(year from t) > 2000",
    "t at time zone 'UTC' > '2020-01-01'",
    "z in ('x', 'y')", "s ~ '^[a-z]$'",
)  # fmt: skip
TABLE = """
create type public.kind as enum ('one', 'two', 'it''s');
create domain public.zip as varchar(9) check (value in ('x', 'y'));
create table {schema}.t (
    s varchar(9) default 'a', c char(3), b boolean, n numeric default -1, d date default '2020-01-01',
    i interval default '1 day', e public.kind default 'one', x varchar[] default array['a', 'b'], p bpchar, j jsonb,
    t timestamptz, z public.zip, low text generated always as (case when s in ('a', 'b') then lower(s) end) stored
)
"""
REST = """
create unique index one on {schema}.t (s) where s in ('a', 'b');
create index two on {schema}.t (lower(s), (s in ('a', 'b')), (coalesce(c, 'x'))) where e <> 'two' and n in (1, -2);
create statistics {schema}.st on (s in ('a', 'b')), n from {schema}.t;
alter table {schema}.t add constraint ex exclude using btree (s with =) where (s in ('a', 'b'));
create function public.nothing() returns trigger language plpgsql as 'begin return null; end';
create trigger tr before insert on {schema}.t for each row when (new.s in ('a', 'b')) execute function public.nothing();
create rule ru as on delete to {schema}.t where old.s in ('a', 'b') do instead nothing;
create table {schema}.parted (s varchar(9), n int) partition by range ((case when s in ('a', 'b') then 1 end), n);
"""


class Both:
    """Tables as a person wrote them in `live`, and beside them in `shadow` as PostgreSQL's texts make them."""

    def __init__(self, conn: psycopg.Connection[dict[str, Any]]) -> None:
        self.conn = conn
        conn.execute("create schema live; create schema shadow")
        conn.execute(TABLE.format(schema="live").encode())
        for number, check in enumerate(CHECKS):
            conn.execute(f"alter table live.t add constraint c{number} check ({check})".encode())
        conn.execute(REST.format(schema="live").encode())
        conn.execute("set search_path = ''")

    def shape(self, schema: str, names: Sequence[str] = ("t", "parted")) -> str:
        return Templates((resources.SQL,)).sql(
            "shadow_load/shape.sql.j2", schema=schema, instead="live", also="shadow", names=list(names)
        )

    def rows(self, schema: str) -> list[dict[str, Any]]:
        return self.conn.execute(self.shape(schema).encode()).fetchall()

    def copy(self) -> None:
        """Make what is in `live` in `shadow` too, from the texts of PostgreSQL."""
        trip = RoundTrip(self.conn, schema="live", shadow="live", place="shadow", shape=self.shape)
        for table in ("t", "parted"):
            assert list(trip.copy(table, [row for row in self.rows("live") if row["name"] == table], {})) == []

    def differences(self) -> list[tuple[str, str, str]]:
        """Return what is not alike after one more round."""
        there, here = self.rows("live"), self.rows("shadow")
        keys = set(unlike(there, here))
        trip = RoundTrip(self.conn, schema="live", shadow="shadow", place="again", shape=self.shape)
        mapping = {TableName("live", name): TableName("shadow", name) for name in ("t", "parted")}
        want, have = (trip.settle([row for row in rows if key_of(row) in keys], mapping) for rows in (there, here))
        return sorted(key for key in keys if key not in want or want[key] != have.get(key))


@pytest.fixture
def both(each_version: Server) -> Iterator[Both]:
    with psycopg.connect(each_version.create("both"), autocommit=True, row_factory=dict_row) as conn:
        yield Both(conn)


def test_what_differs_by_one_round_only_is_alike_and_nothing_is_left(both: Both) -> None:
    both.copy()
    there, here = both.rows("live"), both.rows("shadow")
    changed = {what for _, what, _ in unlike(there, here)} - {"column"}
    assert {"constraint", "index", "statistics", "trigger", "rule", "generated", "partition key"} <= changed, changed
    assert [key for key in both.differences() if key[1] != "column"] == []
    assert both.conn.execute("select to_regnamespace('again') as left").fetchall() == [{"left": None}]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("alter table shadow.t drop constraint c0, add constraint c0 check (s in ('a', 'c'))", "c0"),
        ("alter table shadow.t drop constraint c1", "c1"),
        ("drop index shadow.one; create unique index one on shadow.t (s) where s in ('a', 'b', 'c')", "one"),
        ("drop index shadow.one; create index one on shadow.t (s) where s in ('a', 'b')", "one"),
        ("alter table shadow.t alter column n set default 1", "n"),
        ("drop trigger tr on shadow.t", "tr"),
        ("create or replace rule ru as on delete to shadow.t where old.s in ('a') do instead nothing", "ru"),
    ],
)  # fmt: skip
def test_a_real_difference_stays(db: str, change: str, key: str) -> None:
    with psycopg.connect(db, autocommit=True, row_factory=dict_row) as conn:
        both = Both(conn)
        both.copy()
        before = both.differences()
        conn.execute(change.encode())
        assert [part for _, what, part in both.differences() if ("t", what, part) not in before] == [key]
