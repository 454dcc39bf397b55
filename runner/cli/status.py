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
    print_text,
    read_plan,
    set_option,
)
from runner.errors import ConnectError, TargetError
from runner.redact import MARK
from runner.report.colours import show

if TYPE_CHECKING:
    from runner.journal.history import RunRecord
    from runner.model import Plan
    from runner.refresh.summary import Standing


@click.command(epilog="Example: planrun status plans/prod.yml -o json")
@plan_argument
@set_option
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], output: str) -> int:
    """Show the state of a plan's last run, who is running it now, and what to type next."""
    from runner import api
    from runner.report import runs
    from runner.report import sets as report_sets

    loaded = read_plan(plan, sets, offline=True)
    found = api.history(loaded, env=os.environ, brief=True)
    if found and found[-1].sets and not sets:
        loaded = _with_words(plan, found[-1])
    try:
        holder = api.run_holder(loaded, env=os.environ)
    except ConnectError as exc:  # the journal is a file: the state of the last run is known without a server
        holder = ""
        _warn(loaded, f"planrun cannot tell whether it is running now: {exc.message}")
    last, standings = found[-1] if found else None, _standings(loaded)
    if output == "json":
        listed = [report_sets.as_json(one, loaded, last, holder) for one in standings]
        data = runs.status_json(last, loaded, holder, listed)
        state = data["last"]["state"] if data["last"] else runs.NEVER
        print_json({**about(loaded, state=state, run=last.id if last else None), **data})
    else:
        print_text(database_lines(loaded) + runs.status(last, loaded, holder))
        print_text(report_sets.status(standings, loaded, last, holder, datetime.now(UTC)))
    return 0


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
