"""A table that one COPY filled reads back as the same bytes: on this rests the proof that the new tables are whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from runner.cancel import Cancel
from runner.shadow.relay import read, relay
from tests.servers import Server

Conn = psycopg.Connection[dict[str, Any]]
COLUMNS = """
    b bool, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric, m money, t text, v varchar(4000),
    c char(9), na name, ch "char", by bytea, j json, jb jsonb, u uuid, d date, ti time, tz timetz, ts timestamp,
    tstz timestamptz, iv interval, ip inet, ci cidr, mac macaddr, mac8 macaddr8, bi bit(5), vb varbit
"""
ODD = """
    (true, -32768, 2147483647, -9223372036854775808, 4294967295, '-0', 'NaN', '1.000', '-92233720368547758.08',
     E'\\\\. \\t\\n\\u00e9', '', 'x', 'n', 'c', '\\x00ff', '{"a" : 1.0, "a": 2}', '{"a" : 1.00, "b": [null, "?"]}',
     '00000000-0000-0000-0000-000000000001', 'infinity', '24:00', '00:00+15:59', '-infinity', '4713-01-01 BC',
     '1 mon -1 day 00:00:00.000001', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
     B'10101', B''),
    (null, null, null, null, null, 'Infinity', '-0', 'NaN', null, repeat('long ', 3000), null, null, null, null, null,
     'null', 'null', null, '4713-01-01 BC', null, null, null, null, null, null, null, null, null, null, null),
    (false, 0, 0, 0, 0, '1e-45', '5e-324', '1e-1000', '0', '', ' ', ' ', '', '', '', '""', '{}', null, '5874897-12-31',
     '00:00', '00:00-15:59', '294276-12-31', '294276-12-31 UTC', '-178000000 years', '0.0.0.0', '::/0',
     '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', B'00000', B'1')
"""


@pytest.fixture
def pair(new_db: Any) -> Iterator[tuple[Conn, Conn]]:
    with open_connection(new_db()) as source, open_connection(new_db()) as target:
        yield source, target


def feed(digest: Any) -> Callable[[Any, int], None]:
    """Return what gives each piece of a stream to a digest."""
    return lambda piece, rows: digest.update(piece)


def open_connection(db: str) -> Conn:
    conn = psycopg.connect(db, autocommit=True, row_factory=dict_row)
    conn.execute("set client_min_messages = error")
    return conn


def copy_table(source: Conn, target: Conn, form: str, columns: str = "") -> tuple[str, str]:
    """Copy table t as a load does it; return the digests of what was sent, and of what it reads back as."""
    sent, back = hashlib.sha256(), hashlib.sha256()
    target.execute("begin; truncate only t")
    out = f"copy t{columns} to stdout (format {form})"
    rows = relay(source, target, out, f"copy t{columns} from stdin (format {form}, freeze)", Cancel(), feed(sent))
    target.execute("commit; begin; set local synchronize_seqscans = off")
    assert read(target, out, Cancel(), feed(back)) == rows
    target.execute("commit")
    return sent.hexdigest(), back.hexdigest()


@pytest.mark.parametrize("form", ["binary", "text"])
def test_every_exact_type(each_version: Server, form: str) -> None:
    db = each_version.create("exact")
    with open_connection(db) as source, open_connection(each_version.create("exact_target")) as target:
        for conn in (source, target):
            conn.execute(f"create table t ({COLUMNS})")
        for _ in range(200):
            source.execute(f"insert into t values {ODD}")
        sent, back = copy_table(source, target, form)
        assert sent == back
        target.execute("update t set n = n + 1 where ctid = '(0,1)'")
        target.execute("begin")
        changed = hashlib.sha256()
        read(target, f"copy t to stdout (format {form})", Cancel(), feed(changed))
        target.execute("commit")
        assert changed.hexdigest() != sent


def test_the_types_are_those_that_a_load_relies_on() -> None:
    from runner import sqlfile

    text = sqlfile.read("shadow_load/source.sql.j2").split("any (array[")[1].split("]")[0]
    relied_on = {word.strip().strip("'") for word in text.split(",")}
    written = {part.split()[1].split("(")[0].strip('"') for part in COLUMNS.replace(", 5", "").split(",")}
    instead = {"char(9)": "bpchar"}
    assert relied_on - {"bpchar"} == {instead.get(one, one) for one in written}


@settings(max_examples=15)
@given(widths=st.lists(st.integers(0, 9000), max_size=400))
def test_rows_stay_in_their_order(pair_of_tables: tuple[Conn, Conn], widths: list[int]) -> None:
    source, target = pair_of_tables
    source.execute("truncate t")
    with source.cursor().copy("copy t from stdin") as copy:
        for number, width in enumerate(widths):
            copy.write_row((number, "x" * width, None if width % 3 else b"\xff" * width))
    sent, back = copy_table(source, target, "binary")
    assert sent == back


@pytest.fixture(scope="module")
def pair_of_tables(pg_server: Server) -> Iterator[tuple[Conn, Conn]]:
    with (
        open_connection(pg_server.create("widths")) as source,
        open_connection(pg_server.create("widths_target")) as target,
    ):
        for conn in (source, target):
            conn.execute("create table t (id int, body text, raw bytea)")
            conn.execute("alter table t alter body set storage external, alter raw set storage extended")
        yield source, target


def test_a_big_table_is_read_from_its_start_while_others_read_it(pair: tuple[Conn, Conn]) -> None:
    source, target = pair
    for conn in pair:
        conn.execute("create table t (id int, body text)")
    source.execute("insert into t select n, repeat(md5(n::text), 5) from generate_series(1, 150000) as n")
    sent, _ = copy_table(source, target, "binary")
    with open_connection(target.info.dsn) as other:  # scans of more than a quarter of shared_buffers join each other
        other.execute("set synchronize_seqscans = on")
        with other.transaction(), other.cursor("far") as far:
            far.execute("select * from t")
            far.fetchmany(100_000)
            back = hashlib.sha256()
            target.execute("begin; set local synchronize_seqscans = off")
            read(target, "copy t to stdout (format binary)", Cancel(), feed(back))
            target.execute("commit")
    assert back.hexdigest() == sent
