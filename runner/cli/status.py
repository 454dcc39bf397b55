"""planrun status: show the state of the last run, and the next command."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runner.cli.common import (
    about,
    database_lines,
    output_option,
    plan_argument,
    print_json,
    print_json_line,
    print_text,
    read_plan,
    set_option,
)
from runner.errors import ConnectError, TargetError, UsageError
from runner.redact import MARK
from runner.report.colours import show

if TYPE_CHECKING:
    from runner.journal.history import RunRecord
    from runner.model import Plan
    from runner.refresh.summary import Standing


@click.command(epilog="\b\nExamples:\n  planrun status plans/prod.yml -o json\n  planrun status plans/prod.yml --watch")
@plan_argument
@set_option
@click.option("--watch", is_flag=True, help="Show what the run shows until it ends; exit code: that of the run.")
@click.option(
    "--interval", default="", metavar="DURATION", help="With --watch: how often to read the journal.  [default: 1s]"
)
@output_option("text", "json", "jsonl")
def command(plan: str, sets: tuple[str, ...], watch: bool, interval: str, output: str) -> int:
    """Show the state of a plan's last run, who is running it now, and what to type next.

    It only reads, from any host that reaches the journal: a role that may SELECT it is enough.
    """
    if interval and not watch:
        raise UsageError("--interval says how often --watch reads", hint="give --watch too", code="PR1116")
    if watch and output == "json":
        raise UsageError("--watch gives a stream, and json is one document", hint="-o jsonl", code="PR1116")
    loaded = read_plan(plan, sets, offline=True)
    if not watch:
        _show(loaded, plan, sets, output)
        return 0
    from runner.cli import watch as following

    run = following.follow(loaded, following.seconds_of(interval or "1s"), output)
    _show(loaded, plan, sets, output)
    return following.exit_code(run)


def _show(loaded: Plan, plan: str, sets: tuple[str, ...], output: str) -> None:
    from runner import api
    from runner.report import runs
    from runner.report import sets as report_sets

    history = api.history(loaded, env=os.environ, brief=True)
    if history and history[-1].sets and not sets:
        loaded = _with_words(plan, history[-1])
    try:
        holder = api.run_holder(loaded, env=os.environ)
    except ConnectError as exc:  # the journal is a file: the state of the last run is known without a server
        holder = ""
        _warn(loaded, f"planrun cannot tell whether it is running now: {exc.message}")
    last, standings = history[-1] if history else None, _standings(loaded)
    if output != "text":
        listed = [report_sets.as_json(one, loaded, last, holder) for one in standings]
        data = runs.status_json(last, loaded, holder, listed)
        state = data["last"]["state"] if data["last"] else runs.NEVER
        found = {**about(loaded, state=state, run=last.id if last else None), **data}
        print_json(found) if output == "json" else print_json_line("status", found)
    else:
        print_text(database_lines(loaded) + runs.status(last, loaded, holder))
        print_text(report_sets.status(standings, loaded, last, holder, datetime.now(UTC)))


def _with_words(file: str, run: RunRecord) -> Plan:
    """Return the plan with the `--set` words of its last run, as its state and the next command need them.

    If a secret among them was not kept, it is unknown whether the plan changed.
    """
    known = [word for word in run.sets if not word.endswith(f"={MARK}")]
    loaded = read_plan(file, known, offline=True)
    digest = loaded.digest if len(known) == len(run.sets) else run.digest
    return replace(loaded, sets=run.sets, digest=digest)


def _standings(plan: Plan) -> list[Standing]:
    """Return what refreshes left in the database; nothing, with a warning, if that cannot be read: the journal is still
    shown."""
    from runner import api

    try:
        return api.refreshes(plan, env=os.environ)
    except TargetError as exc:
        _warn(plan, f"planrun cannot tell which shadow tables and backup sets exist: {exc.message}")
        return []


def _warn(plan: Plan, message: str) -> None:
    from runner.redact import Redactor

    show(f"warning: {Redactor(plan.env, os.environ).text(message)}", sys.stderr)
