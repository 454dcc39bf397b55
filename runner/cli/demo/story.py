"""What happens in the demo, in order: two jobs, and the proof that each did what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.cancel import Cancel
from runner.cli.common import Terminal, interruptible
from runner.cli.demo import databases
from runner.cli.demo.databases import Shop, count_saved, folder, open_database, read_shop
from runner.cli.demo.stage import Brief, Stage, Whole, Words
from runner.cli.demo.visitors import CLIENTS, Visits, visit
from runner.cli.program_name import program_name
from runner.errors import Interrupted, PlanrunError
from runner.server import embedded, programs
from runner.server.embedded import Server
from runner.words import plural, seconds, size


def run(keep: Path | None, *, verbose: bool) -> None:
    """Run the demo on a private server, which is gone afterwards. keep: the folder for plans and backups, None for one
    that is removed. Raises PlanrunError if a result is not as it should be, Interrupted after a Ctrl-C."""
    chosen, cancel, name = programs.server_for(), Cancel(), program_name()  # of this folder, which the block leaves
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interruption(keep, name))
        stack.enter_context(interruptible(cancel, Terminal(cancel)))
        home = stack.enter_context(folder(keep))
        stage: Stage = Whole(cancel) if verbose else Brief(cancel)
        server = stack.enter_context(embedded.private_server(chosen))
        stack.enter_context(databases.environment(server, home))
        stage.say(
            f"Two jobs on a private PostgreSQL {chosen.version} with sample data, in about 15 seconds.",
            "None of your databases is touched.",
        )
        _migrate(stage, server, cancel)
        _refresh(stage, server, cancel)
        _say_end(stage, keep, name)


@contextlib.contextmanager
def _interruption(keep: Path | None, name: str) -> Iterator[None]:
    try:
        yield
    except Interrupted as exc:
        left = f"the plans and backups so far are in {keep}" if keep else "nothing of the demo is left"
        exc.hint = f"{left}; to run it again: {name} demo"
        raise


# ------------------------------------------------------------------ the first job


_SAVE: Words = {
    "save": lambda one: (
        f"{plural(one['count'], 'table')}, {plural(one['rows'], 'row')}, {size(one['bytes'])}, of one moment"
    ),
    "prove": lambda one: f"restored into another server, {plural(one['rows'], 'row')} compared: all are the same",
    "cleanup": lambda _: "the three tables are dropped; without the proof this step does not start",
}
_RESTORE: Words = {
    "restore": lambda one: f"{plural(one['count'], 'table')}, {plural(one['rows'], 'row')}, compared before the COMMIT"
}


def _migrate(stage: Stage, server: Server, cancel: Cancel) -> None:
    cancel.check()
    databases.make(server, "shop", "shop.sql")
    before = count_saved(server)
    stage.say("1. A migration drops three tables. It starts only after a restore has proved their backup.")
    stage.validate("demo.yml")
    stage.apply("demo.yml", _SAVE)
    stage.restore("demo.yml", _RESTORE)
    if count_saved(server) != before:
        raise PlanrunError("the restored tables differ from those that were dropped", code="PR0607")
    if stage.verbose:
        stage.say("Every row is back: " + ", ".join(f"{name} {rows:,}" for name, rows in before.items()))
    stage.look("status", "demo.yml")


# ------------------------------------------------------------------ the second job


def _locks(one: Mapping[str, Any]) -> str:
    return f"locks for {seconds(one['locked_ms'] / 1000)}"


_FIRST: Words = {
    "prepare.load": lambda one: f"{plural(one['rows'], 'row')} copied into new tables, beside the live ones",
    "prepare.check": lambda one: f"{plural(one['rows'], 'row')} of the new tables compared: all are the same",
    "swap": lambda one: f"{plural(len(one['tables']), 'table')} changed places in one transaction, {_locks(one)}",
}
_SECOND: Words = {
    "cleanup": lambda _: "the old tables of the first refresh are dropped: the new ones are proved",
    "swap": _FIRST["swap"],
}
_BACK: Words = {"back": lambda one: f"the tables of the first refresh are back, sign-ups included; {_locks(one)}"}


def _refresh(stage: Stage, server: Server, cancel: Cancel) -> None:
    cancel.check()
    databases.make(server, "staging", "catalog.sql", "staging.sql")
    databases.make(server, "live", "catalog.sql", "live.sql")
    stage.say(
        "2. A shop gets the products of staging and keeps its customers, while it is open:",
        f"   {CLIENTS} clients read prices and sign up all the time.",
    )
    seen = [read_shop(server)]
    stage.validate("demo-refresh.yml")
    with visit(databases.connections(server, "live"), "demo") as visits:
        stage.apply("demo-refresh.yml", _FIRST)
        seen.append(_look(stage, server))
        with open_database(server, "staging") as conn:
            conn.execute("update products set price = price * 2")
        stage.apply("demo-refresh.yml", _SECOND, why="again: in staging all prices doubled", summary=False)
        seen.append(_look(stage, server))
        stage.look("backups list", "demo-refresh.yml")
        stage.rollback("demo-refresh.yml", _BACK, why="the doubled prices were a mistake")
    seen.append(_look(stage, server))
    _prove(stage, seen, visits)
    stage.look("status", "demo-refresh.yml")


def _look(stage: Stage, server: Server) -> Shop:
    shop = read_shop(server)
    if stage.verbose:
        stage.say(f"Now: {shop}")
    return shop


def _prove(stage: Stage, seen: list[Shop], visits: Visits) -> None:
    """Say what the clients met, and raise PlanrunError unless everything is as after the first refresh, with every
    sign-up."""
    _, first, _, last = seen
    wanted = Shop(**{**vars(first), "visitors": visits.writes})
    if last != wanted:
        raise PlanrunError(f"{last}; there should be {wanted}", code="PR0607")
    stage.say(
        f"Dearest product: {', '.join(str(one.dearest) for one in seen[:3])}, and {last.dearest} after the rollback.",
        f"Requests of clients: {visits.reads:,} reads and {visits.writes:,} writes, none failed; "
        f"the slowest took {seconds(visits.longest)}.",
        f"Sign-ups: {visits.writes:,} meanwhile; all of them are there.",
    )


def _say_end(stage: Stage, keep: Path | None, name: str) -> None:
    left = f"The plans and the backup are in {keep}." if keep else "The server and its files are removed now."
    more = [] if stage.verbose else [f"the whole output, with plans: {name} demo -v"]
    stage.say(left, *more, f"next: {name} init    # asks for the job, and writes a plan for your database")
