"""planrun history: list the runs of a plan, newest last."""

from __future__ import annotations

import os

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


@click.command(epilog="Example: planrun history plans/backup.yml")
@plan_argument
@set_option
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], output: str) -> int:
    """List the runs of the plan and of `backups` for it: when they ran, who started them, how they ended."""
    from runner import api
    from runner.cli.backups.chosen import verb_plans
    from runner.report import runs

    loaded = read_plan(plan, sets, offline=True)
    found = api.history(loaded, env=os.environ, also=verb_plans(loaded), brief=True)
    if output == "json":
        last = found[-1].id if found else None
        print_json({**about(loaded, state="ok", run=last), "runs": [runs.run_json(run) for run in found]})
    else:
        print_text(database_lines(loaded) + runs.history(found))
    return 0
