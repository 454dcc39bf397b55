"""planrun status: where the last run stands, and the next command."""

from __future__ import annotations

import os

import click

from runner.cli.common import output_option, plan_argument, print_json, read_plan, set_option


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
    holder = api.running(loaded, env=os.environ)
    if output == "json":
        print_json(runs.status_json(found[-1] if found else None, holder))
    else:
        print(runs.status(found[-1] if found else None, loaded, holder), end="")
    return 0
