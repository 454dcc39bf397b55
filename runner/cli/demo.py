"""planrun demo: run the main jobs on a private PostgreSQL, with the commands that a user would type."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner import resources, sqlfile
from runner.errors import PlanrunError

if TYPE_CHECKING:
    from runner.database.connections import Connections
    from runner.server.embedded import Server


@click.command(epilog="\b\nExamples:\n  planrun demo\n  planrun demo --keep /tmp/planrun-demo")
@click.option("--keep", type=click.Path(file_okay=False), help="Keep the plan and the backups in this folder.")
def command(keep: str | None) -> int:
    """Run the main jobs on an embedded PostgreSQL with sample data.

    The first half backs up tables, proves the backup, drops the tables and restores them. The second half replaces the
    tables of a live database with those of another one, twice, while clients use them, and rolls the last one back.
    """
    from runner.server import embedded, programs

    chosen = programs.server_for()
    with _folder(keep) as home, embedded.private_server(chosen) as server:
        _say(f"PostgreSQL {chosen.version} for the demo, with a small shop in it; none of your databases is touched.")
        with _environment(server, home):
            _make(server, "shop", "shop.sql")
            _backup_story(server, home)
            _make(server, "staging", "catalog.sql", "staging.sql")
            _make(server, "live", "catalog.sql", "live.sql")
            _refresh_story(server, home)
    if keep:
        _say(f"The plans and the sessions are in {keep}.")
    return 0


def _backup_story(server: Server, home: Path) -> None:
    plan = str(home / "demo.yml")
    before = _counts(server)
    _say("The first job: a backup that is proved before anything depends on it. The plan, as a reviewer sees it:")
    print(Path(plan).read_text(encoding="utf-8").rstrip())
    _run("validate", plan)
    _say("apply shows the diff first: what each step would do. Without --yes it then asks.")
    _run("apply", plan, "--yes")
    _say("The cleanup ran because the proof succeeded. Now restore the tables that it dropped:")
    _run("backups", "list", plan)
    _run("backups", "restore", plan, "latest", "--yes")
    if _counts(server) != before:
        raise PlanrunError("the restored tables differ from those that were dropped", code="PR0607")
    _say("Every row is back: " + ", ".join(f"{name} {rows:,}" for name, rows in before.items()))
    _run("status", plan)


def _refresh_story(server: Server, home: Path) -> None:
    from runner.cli.visitor import visit

    plan = str(home / "demo-refresh.yml")
    _say("The second job: replace the tables of database live with those of staging, while the shop is open. The plan:")
    print(Path(plan).read_text(encoding="utf-8").rstrip())
    _say(f"Before: {_counts_text(_live(server))}")
    _run("validate", plan)
    with visit(_connections(server, "live"), "demo") as visits:
        _say("From now on visitors sign up and read prices all the time. The first refresh:")
        _run("apply", plan, "--yes")
        first = _live(server)
        _say(f"Now: {_counts_text(first)}")
        _say("In staging all prices double. The second refresh drops the first one's backup set when prepare is ok:")
        with _connect(server, "staging") as conn:
            conn.execute("update products set price = price * 2")
        _run("apply", plan, "--yes")
        _say(f"Now: {_counts_text(_live(server))}")
        _run("backups", "list", plan)
        _say("There is one backup set, not two. The doubled prices were a mistake, so roll back to it:")
        _run("rollback", plan, "--yes")
    last = _live(server)
    _say(f"Now: {_counts_text(last)}")
    if last != {**first, "visitors": visits.count}:
        raise PlanrunError(
            f"{_counts_text(last)}; there should be {_counts_text({**first, 'visitors': visits.count})}", code="PR0607"
        )
    longest = f"the longest waited {visits.longest * 1000:.0f} ms"
    _say(f"{visits.count:,} visitors came meanwhile: none got an error, {longest}, and no visitor is lost.")
    _run("status", plan)


def _run(*args: str) -> None:
    from runner.cli import main

    print(f"\n$ planrun {shlex.join(args)}", flush=True)
    if code := main(args):
        raise PlanrunError(f"planrun {args[0]} ended with {code}", hint="planrun doctor", code="PR0607")
    sys.stdout.flush()


def _say(text: str) -> None:
    print(f"\n# {text}", flush=True)


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        home = Path(keep) if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planrun-demo-")))
        home.mkdir(parents=True, exist_ok=True)
        for name in ("demo.yml", "demo-refresh.yml"):
            shutil.copy(resources.PLANS / name, home / name)
        yield home


@contextlib.contextmanager
def _environment(server: Server, home: Path) -> Iterator[None]:
    """Return an environment that points every command at the demo's server, without the caller's database settings."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PG") or name.startswith("DATABASE_URL")]:
        del os.environ[name]
    os.environ["PLANRUN_STATE_DIR"] = str(home / "state")
    os.environ |= {"PGHOST": server.words["host"], "PGPORT": server.words["port"]}
    os.environ |= {"PGUSER": server.words["user"], "PGDATABASE": "shop"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _make(server: Server, name: str, *files: str) -> None:
    with _connect(server, "postgres") as conn:
        conn.execute(f"create database {name}")
    with _connect(server, name) as conn:
        for file in files:
            conn.execute(sqlfile.read(f"demo/{file}"))


_CDC = """
select relname::text as name from pg_catalog.pg_class
where relkind = 'r' and pg_catalog.starts_with(relname::text, '_cdc_')
"""


def _counts(server: Server) -> dict[str, int]:
    """Return the number of rows of each table of the first half that has any."""
    with _connect(server, "shop") as conn:
        tables = [row["name"] for row in conn.execute(_CDC).fetchall()]
        counts = {name: conn.execute(f'select count(*) as n from public."{name}"').fetchone() for name in tables}
    return {name: row["n"] for name, row in sorted(counts.items()) if row and row["n"]}


_LIVE = sqlfile.read("demo/counts.sql")


def _live(server: Server) -> dict[str, Any]:
    with _connect(server, "live") as conn:
        return dict(conn.execute(_LIVE).fetchall()[0])


def _counts_text(live: dict[str, Any]) -> str:
    products = f"{live['products']:,} products, the dearest at {live['dearest']}"
    return f"{products}; {live['customers']:,} customers and {live['visitors']:,} visitors; {live['orders']:,} orders"


def _connect(server: Server, dbname: str) -> contextlib.AbstractContextManager[Any]:
    return _connections(server, dbname).open("demo", own_path=False)


def _connections(server: Server, dbname: str) -> Connections:
    from runner.database.connections import Connections

    return Connections({"demo": {**server.words, "dbname": dbname}}, {})
