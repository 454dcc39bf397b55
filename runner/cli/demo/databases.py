"""The databases of the demo: a private server with sample data, and what is in them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import resources, sqlfile

if TYPE_CHECKING:
    from runner.database.connections import Connections
    from runner.server.embedded import Server

PLANS = ("demo.yml", "demo-refresh.yml")

_OF_THE_CALLER = re.compile(r"PG.*|DATABASE_URL.*|PLANRUN_(?!PG_).*")
"""Variables of the caller that would lead a command to another database, or change what it does."""


@contextlib.contextmanager
def folder(keep: Path | None) -> Iterator[Path]:
    """Yield the folder with the plans of the demo: `keep`, or a private one that is removed."""
    from runner.server import embedded

    with contextlib.nullcontext(keep) if keep else embedded.private_folder() as home:
        assert home is not None
        home.mkdir(parents=True, exist_ok=True)
        for name in PLANS:
            shutil.copy(resources.PLANS / name, home / name)
        yield home


@contextlib.contextmanager
def environment(server: Server, home: Path) -> Iterator[None]:
    """Let every command of the block use the demo's server and the folder `home`, and none of the caller's settings."""
    before = dict(os.environ)
    for name in [name for name in os.environ if _OF_THE_CALLER.fullmatch(name)]:
        del os.environ[name]
    os.environ["PLANRUN_STATE_DIR"] = str(home / "state")
    os.environ |= {"PGHOST": server.words["host"], "PGPORT": server.words["port"]}
    os.environ |= {"PGUSER": server.words["user"], "PGDATABASE": "shop"}
    try:
        with contextlib.chdir(home):
            yield
    finally:
        os.environ.clear()
        os.environ |= before


def make(server: Server, name: str, *files: str, owner: str = "postgres") -> None:
    """Create a database from files of sql/demo/, all of which belongs to `owner`."""
    with open_database(server, "postgres") as conn:
        conn.execute(f"create database {name} owner {owner}")
    with open_database(server, name) as conn:
        conn.execute(f"alter schema public owner to {owner}; set role {owner}")
        for file in files:
            conn.execute(sqlfile.read(f"demo/{file}"))


OWNER = "app"
"""The role that owns the databases of the playground. It is no superuser."""


def make_playground(server: Server) -> None:
    """Create all databases of the demo for the role OWNER."""
    with open_database(server, "postgres") as conn:
        conn.execute(f"create role {OWNER} login")
    make(server, "shop", "shop.sql", owner=OWNER)
    make(server, "staging", "catalog.sql", "staging.sql", owner=OWNER)
    make(server, "live", "catalog.sql", "live.sql", owner=OWNER)


_CDC = """
select relname::text as name from pg_catalog.pg_class
where relkind = 'r' and pg_catalog.starts_with(relname::text, '_cdc_')
"""


def count_saved(server: Server) -> dict[str, int]:
    """Return the number of rows of each table of the first job that has any."""
    with open_database(server, "shop") as conn:
        tables = [row["name"] for row in conn.execute(_CDC).fetchall()]
        counts = {name: conn.execute(f'select count(*) as n from public."{name}"').fetchone() for name in tables}
    return {name: row["n"] for name, row in sorted(counts.items()) if row and row["n"]}


@dataclass(frozen=True, kw_only=True)
class Shop:
    """What the live database of the second job holds. visitors: customers that signed up during the demo."""

    products: int
    dearest: Any
    customers: int
    visitors: int
    orders: int

    def __str__(self) -> str:
        products = f"{self.products:,} products, the dearest at {self.dearest}"
        return f"{products}; {self.customers:,} customers and {self.visitors:,} visitors; {self.orders:,} orders"


def read_shop(server: Server) -> Shop:
    with open_database(server, "live") as conn:
        row: Mapping[str, Any] = conn.execute(sqlfile.read("demo/counts.sql")).fetchall()[0]
    return Shop(**row)


def open_database(server: Server, dbname: str) -> contextlib.AbstractContextManager[Any]:
    return connections(server, dbname).open("demo", own_path=False)


def connections(server: Server, dbname: str) -> Connections:
    """Return the connections of a plan whose only one, `demo`, leads to this database."""
    from runner.database.connections import Connections

    return Connections({"demo": {**server.words, "dbname": dbname}}, {}, application="client of the demo")
