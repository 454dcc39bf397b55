"""Schemas that real tools make (README.md beside this file): everything twice, with a role that is no superuser.

After each step the catalog and the rows of the live tables are those that they must be.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import conninfo, sql

from runner.server import programs
from tests import servers
from tests.catalogs import Catalog, Contents, catalog, contents, differing_tables
from tests.commandline import connect_to
from tests.refreshes import NORTHWIND, PLAN, Pair, not_as_in_the_source
from tests.servers import Server

ORDINARY = Path(__file__).parent
MAJORS = sorted(servers.servers_here())
AS_TARGET = {"PLANRUN_TARGET_URL": ""}
"""A plan without connections goes where DATABASE_URL leads."""
PGBENCH_ROWS = """
insert into pgbench_branches (bid, bbalance) select 1, 0;
insert into pgbench_tellers (tid, bid, tbalance) select n, 1, 0 from generate_series(1, 10) n;
insert into pgbench_accounts (aid, bid, abalance, filler) select n, 1, n % 7, '' from generate_series(1, 100000, 5) n;
insert into pgbench_history (tid, bid, aid, delta, mtime) select 1, 1, 1, n, '2026-01-01' from generate_series(1, 9) n;
"""
SCHEMAS: dict[str, Callable[[], tuple[str, str]]] = {
    **{
        name: lambda name=name: (_read(name, "schema.sql"), _read(name, "rows.sql"))  # type: ignore[misc]
        for name in ("wagtail", "sqlalchemy", "drizzle", "typeorm")
    },
    "pgbench": lambda: (_read("pgbench", "schema.sql"), PGBENCH_ROWS),
    "northwind": lambda: (NORTHWIND.read_text(), ""),
}


def _read(*parts: str) -> str:
    return ORDINARY.joinpath(*parts).read_text()


# ------------------------------------------------------------------ the databases of one schema


class Site(Pair):
    """Two databases with one schema, both owned by `app`, which is no superuser and does all the work."""

    def __init__(self, server: Server, folder: Path, name: str) -> None:
        self.name = name
        self._server, self._names = server, [f"{name}_{role}" for role in ("source", "target", "again")]
        databases = [self._create(server, one) for one in self._names]
        source, target, self.again = (conninfo.make_conninfo(db, user="app") for db in databases)
        super().__init__(folder, source, target)
        schema, rows = SCHEMAS[name]()
        self.fill(f"begin; {schema}; {rows}; set search_path = public; commit")
        self.take_rows("target")
        self._refresh_views(self.source)

    def drop(self) -> None:
        for name in self._names:
            self._server.drop(name)

    @staticmethod
    def _create(server: Server, name: str) -> str:
        db = server.create(name)
        with server.admin() as conn:
            conn.execute(sql.SQL("alter database {} owner to app").format(sql.Identifier(name)))
        with connect_to(db) as conn:
            conn.execute("alter schema public owner to app")
        return db

    def take_rows(self, only: str) -> None:
        """Take about a third of the rows of each table that no other one refers to."""
        leaves = self.ask(
            "select c.oid::regclass::text from pg_class c where c.relkind = 'r' and not c.relispartition"
            " and c.relnamespace = 'public'::regnamespace"
            " and not exists (select from pg_constraint k where k.confrelid = c.oid)",
            of=getattr(self, only),
        )
        self.fill(*(f"delete from {name} where ctid::text ~ '[147]\\)$'" for (name,) in leaves), only=only)
        self._refresh_views(getattr(self, only))

    def _refresh_views(self, db: str) -> None:
        for (name,) in self.ask("select oid::regclass::text from pg_class where relkind = 'm'", of=db):
            with connect_to(db) as conn:
                conn.execute(f"refresh materialized view {name}".encode())

    def tables(self) -> list[str]:
        found = self.ask("select relname from pg_class where relkind in ('r', 'p') and not relispartition"
                         " and relnamespace = 'public'::regnamespace order by relname")  # fmt: skip
        return [str(name) for (name,) in found]

    def settled_catalog(self) -> Catalog:
        """Return the catalog after one more round through a dump, which changes the text of some expressions."""
        with connect_to(self.target) as conn:
            these = programs.pg_dump_for(conn.info.server_version // 10000)
        env = {**os.environ, **these.env}
        text = subprocess.run(
            [these.tool("pg_dump"), "-d", self.target, "--schema-only"], env=env, check=True, capture_output=True
        ).stdout
        subprocess.run(
            [these.tool("psql"), "-qX", "-d", self.again], env=env, check=True, input=text, stdout=subprocess.DEVNULL
        )
        return catalog(self.again)


class Expected:
    """What the catalog of the target must be, whatever is done, and rows to compare with."""

    def __init__(self, site: Site) -> None:
        self.site, self.texts = site, (catalog(site.target), site.settled_catalog())

    def changes(self, rows: Contents | None = None) -> list[str]:
        """Return what is not as it must be: entries of the catalog, tables whose rows differ from `rows`."""
        now = catalog(self.site.target)
        keys = {*now, *self.texts[0]}
        entries = [key for key in sorted(keys) if now.get(key) not in {text.get(key) for text in self.texts}]
        return entries + (differing_tables(rows, contents(self.site.target)) if rows else [])


@pytest.fixture(scope="module")
def servers_of_majors(_no_settings_of_the_caller: None) -> Iterator[Callable[[int], Server]]:
    """Give the server of a major, which has a role `app`."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def give(major: int) -> Server:
            if not MAJORS:
                servers.no_server("no PostgreSQL server programs here")
            made = stack.enter_context(servers.local(servers.servers_here()[major]))
            with made.admin() as conn:
                conn.execute("create role app login")
            return made

        yield give


OLDEST, NEWEST = (MAJORS[0], MAJORS[-1]) if MAJORS else (0, 0)
TRIED = [("wagtail", OLDEST), ("wagtail", NEWEST), ("sqlalchemy", OLDEST), ("drizzle", NEWEST), ("typeorm", OLDEST),
         ("pgbench", NEWEST), ("northwind", NEWEST)]  # fmt: skip


@pytest.fixture(params=TRIED, ids=lambda one: f"{one[0]}-pg{one[1]}")
def site(request: pytest.FixtureRequest, servers_of_majors: Callable[[int], Server], tmp_path: Path) -> Iterator[Site]:
    name, major = request.param
    if name == "northwind" and not NORTHWIND.exists():
        pytest.skip("northwind.sql is not beside this repository")
    made = Site(servers_of_majors(major), tmp_path, name)
    yield made
    made.drop()


# ------------------------------------------------------------------ what people do


def test_refreshed_twice_back_again_and_aborted(site: Site) -> None:
    site.write(PLAN)
    expected = Expected(site)
    site.apply()
    assert not_as_in_the_source(site) == [] and expected.changes() == []
    first = contents(site.target)
    site.take_rows("source")
    site.apply()
    assert not_as_in_the_source(site) == [] and expected.changes() == []
    site.ok("rollback", "plan.yml", "--yes")
    assert expected.changes(first) == []
    site.apply()
    assert not_as_in_the_source(site) == [] and expected.changes() == []
    second = contents(site.target)
    site.apply("--until", "prepare")
    site.ok("abort", "plan.yml", "--yes")
    assert expected.changes(second) == []
    ((last,),) = site.ask("select id from planrun.refresh where state = 'swapped'")
    site.ok("backups", "prune", "plan.yml", str(last), "--yes")
    assert expected.changes(second) == []
    assert site.ask("select count(*) from planrun.refresh where state = 'swapped'") == [(0,)]


BOUND = {
    "drizzle": 'drop view open_orders; drop materialized view sales; alter table audit.entries drop constraint "entries_userId_users_id_fk"'  # noqa: E501
}
"""What a person takes off before the tables can be dropped, and makes again: it is no table of the backup."""
_MADE_AGAIN = ("CREATE VIEW", "CREATE MATERIALIZED VIEW", 'ALTER TABLE "audit"."entries" ADD CONSTRAINT')


def test_backed_up_proved_dropped_and_restored(site: Site) -> None:
    names = ", ".join(json.dumps(f'public."{name}"') for name in site.tables())
    site.write(f"backup: {{path: backups, format: sql, skip_empty: false, tables: [{names}]}}\n")
    expected, before = Expected(site), contents(site.target)
    site.ok("apply", "plan.yml", "--yes", env=AS_TARGET)
    site.ok("backups", "verify", "plan.yml", "latest", "--level", "3", env=AS_TARGET)
    site.fill(BOUND.get(site.name, ""), only="target")
    site.fill("drop table " + ", ".join(f'"{name}"' for name in site.tables()), only="target")
    site.ok("backups", "restore", "plan.yml", "latest", "--yes", env=AS_TARGET)
    again = [one for one in SCHEMAS[site.name]()[0].split(";\n") if one.strip().startswith(_MADE_AGAIN)]
    site.fill(*(again if site.name in BOUND else []), only="target")
    assert expected.changes(before) == []
