"""The tables that several subjects work on."""

from __future__ import annotations

import subprocess

import psycopg

from bench.place import Place

TABLE = """
create table {name} (id int primary key, name text, price numeric, at timestamptz, data jsonb);
insert into {name} select n, 'name ' || n, n / 7.0, timestamptz '2025-01-01' + n * interval '1 min',
    jsonb_build_object('n', n, 'h', md5(n::text)) from generate_series(1, {rows}) n;
"""
TINY = "create table {name} (id serial primary key, name text unique); insert into {name} (name) values ('a'), ('b');"
KEYED = """
create table {name} (id int primary key, other int unique, name text, at timestamptz);
insert into {name} select g, g, 'name ' || g, timestamptz '2025-01-01' from generate_series(1, {rows}) g;
create index on {name} (name);
"""
WIDE = """
create table wide (id int primary key, data jsonb, body text);
insert into wide select g, jsonb_build_object('n', g, 'h', md5(g::text)), string_agg(md5((g * 100 + n)::text), '')
    from generate_series(1, {rows}) g, generate_series(1, 115) n group by g;
"""
ACCOUNTS = """
create table pgbench_accounts (aid int not null, bid int, abalance int, filler char(84)) with (fillfactor=100);
insert into pgbench_accounts select g, 1 + g / 100000, 0, '' from generate_series(1, {rows}) g;
alter table pgbench_accounts add primary key (aid);
"""
BATCH = 100
"""How many tables one transaction creates: with all of them it would need too many locks."""


def fill_tables(url: str, count: int, rows: int) -> None:
    """Create tables t0, t1 ... with rows like those of an application."""
    make(url, [TABLE.format(name=f"t{n}", rows=rows) for n in range(count)])


def empty_tables(url: str, count: int) -> None:
    """Create tables that no backup by the prefix `t` finds, but that every catalog query reads."""
    make(url, [f"create table other{n} (id int primary key, name text);" for n in range(count)])


def tiny_tables(url: str, count: int) -> None:
    """Make tables t0, t1 ... of two rows, each with a sequence and two indexes."""
    make(url, [TINY.format(name=f"t{n}") for n in range(count)])


def make_mixed(where: Place, url: str, scale: int, tables: int, rows: int, wide: int) -> None:
    """Create a typical database: pgbench's tables, many small ones in a chain of foreign keys, one with wide rows."""
    pgbench(where, url, scale)
    key = "alter table m{} add foreign key (other) references m{};"
    small = [KEYED.format(name=f"m{n}", rows=rows) + (key.format(n, n - 1) if n else "") for n in range(tables)]
    make(url, [*small, WIDE.format(rows=wide)])


def accounts(url: str, rows: int) -> None:
    """Make pgbench's table of accounts alone, of any size."""
    make(url, [ACCOUNTS.format(rows=rows)])


def pgbench(where: Place, url: str, scale: int) -> None:
    """Make all tables of pgbench with their foreign keys: 100,000 accounts for each unit of `scale`."""
    argv = [where.tool("pgbench"), "-iqs", str(scale), "--foreign-keys", url]
    subprocess.run(argv, env=where.env(), check=True, capture_output=True)


def make(url: str, texts: list[str]) -> None:
    """Run the statements that create the tables, and collect statistics."""
    with psycopg.connect(url, autocommit=True) as conn:
        for first in range(0, len(texts), BATCH):
            conn.execute("begin;" + "".join(texts[first : first + BATCH]) + "commit")
        conn.execute("analyze")
