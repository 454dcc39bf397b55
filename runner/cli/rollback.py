"""planrun rollback: the plan's own way back, with its own diff."""

from __future__ import annotations

import click

from runner.cli.apply import run
from runner.cli.common import output_option, plan_argument, read_plan, set_option, yes_option


@click.command(epilog="Example: planrun rollback plans/prod.yml")
@plan_argument
@set_option
@yes_option
@output_option()
@click.option("-v", "--verbose", is_flag=True, help="Show the whole SQL in the diff.")
def command(plan: str, sets: tuple[str, ...], yes: bool, output: str, verbose: bool) -> int:
    """Run the plan's `rollback:` steps, after showing their own diff."""
    from runner import api

    loaded = read_plan(plan, sets)
    return run(lambda **hooks: api.rollback(loaded, **hooks), output, yes=yes, verbose=verbose)
