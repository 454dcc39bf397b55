"""planrun demo: the main job on a PostgreSQL of its own, with the commands that a user would type."""

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

from runner import resources
from runner.errors import PlanrunError

if TYPE_CHECKING:
    from runner.server.embedded import Server


@click.command(epilog="\b\nExamples:\n  planrun demo\n  planrun demo --keep /tmp/planrun-demo")
@click.option("--keep", type=click.Path(file_okay=False), help="Keep the plan and the backups in this folder.")
def command(keep: str | None) -> int:
    """Start an embedded PostgreSQL with sample data; back it up, prove the backup, lose tables, get them back."""
    from runner.server import embedded, programs

    chosen = programs.server_for()
    with _folder(keep) as home, embedded.private_server(chosen) as server:
        _say(f"PostgreSQL {chosen.version} of our own, with a small shop in it; nothing of yours is touched.")
        with _environment(server, home):
            _fill(server)
            _story(server, home)
    if keep:
        _say(f"The plan and the sessions are in {keep}.")
    return 0


def _story(server: Server, home: Path) -> None:
    plan = str(home / "demo.yml")
    before = _counts(server)
    _say("The plan, as a reviewer sees it:")
    print(Path(plan).read_text(encoding="utf-8").rstrip())
    _run("validate", plan)
    _say("apply shows the diff first: what each step would do. Without --yes it then asks.")
    _run("apply", plan, "--yes")
    _say("The cleanup ran because the proof succeeded. Those tables are wanted back after all:")
    _run("backups", "list", plan)
    _run("backups", "restore", plan, "latest", "--yes")
    if _counts(server) != before:
        raise PlanrunError("the restored tables differ from those that were dropped")
    _say("Every row is back: " + ", ".join(f"{name} {rows:,}" for name, rows in before.items()))
    _run("status", plan)


def _run(*args: str) -> None:
    from runner.cli import main

    print(f"\n$ planrun {shlex.join(args)}", flush=True)
    if code := main(args):
        raise PlanrunError(f"planrun {args[0]} ended with {code}", hint="planrun doctor")
    sys.stdout.flush()


def _say(text: str) -> None:
    print(f"\n# {text}", flush=True)


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        home = Path(keep) if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planrun-demo-")))
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(resources.PLANS / "demo.yml", home / "demo.yml")
        yield home


@contextlib.contextmanager
def _environment(server: Server, home: Path) -> Iterator[None]:
    """Point every command of the demo at its own server: what the caller's shell says of databases is set aside."""
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


def _fill(server: Server) -> None:
    with _connected(server, "postgres") as conn:
        conn.execute("create database shop")
    with _connected(server, "shop") as conn:
        conn.execute((resources.SQL / "demo" / "shop.sql").read_text(encoding="utf-8"))


_CDC = """
select relname::text as name from pg_catalog.pg_class
where relkind = 'r' and pg_catalog.starts_with(relname::text, '_cdc_')
"""


def _counts(server: Server) -> dict[str, int]:
    """Return the rows of each table of the demo that has any."""
    with _connected(server, "shop") as conn:
        tables = [row["name"] for row in conn.execute(_CDC).fetchall()]
        counts = {name: conn.execute(f'select count(*) as n from public."{name}"').fetchone() for name in tables}
    return {name: row["n"] for name, row in sorted(counts.items()) if row and row["n"]}


def _connected(server: Server, dbname: str) -> contextlib.AbstractContextManager[Any]:
    from runner.db import Connections

    return Connections({"demo": {**server.words, "dbname": dbname}}, {}).open("demo", own_path=False)
