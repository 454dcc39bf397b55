"""planrun status: where the last run stands, and the next command."""

from __future__ import annotations

import os
import sys

import click

from runner.cli.common import output_option, plan_argument, print_json, print_text, read_plan, set_option
from runner.errors import ConnectError
from runner.report.colours import show


@click.command(epilog="Example: planrun status plans/prod.yml -o json")
@plan_argument
@set_option
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], output: str) -> int:
    """Say where the last run of a plan stands, who runs it now, and what to type next."""
    from runner import api
    from runner.report import runs

    loaded = read_plan(plan, sets, offline=True)
    found = api.history(loaded, env=os.environ)
    try:
        holder = api.running(loaded, env=os.environ)
    except ConnectError as exc:  # the journal is a file: where the last run stands is known without a server
        holder = ""
        show(f"warning: it cannot be told whether it is running now: {exc.message}", sys.stderr)
    if output == "json":
        print_json(runs.status_json(found[-1] if found else None, holder))
    else:
        print_text(runs.status(found[-1] if found else None, loaded, holder))
    return 0
