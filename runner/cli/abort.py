"""planrun abort: remove what an unfinished run left in the database."""

from __future__ import annotations

import os

import click

from runner.cli.apply import run
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
    yes_option,
)
from runner.cli.log import log_format_option
from runner.errors import LockedError
from runner.model import Plan
from runner.words import PLAN, one_line


@click.command(epilog="Example: planrun abort plans/prod.yml")
@plan_argument
@set_option
@yes_option
@log_format_option
@output_option()
@click.option("-v", "--verbose", is_flag=True, help="Show the whole SQL in the diff.")
def command(plan: str, sets: tuple[str, ...], yes: bool, output: str, verbose: bool) -> int:
    """Show the shadow tables and triggers that an unfinished run left, ask, and remove them.

    Live tables and the backup set stay as they are. After that, the run cannot be resumed.
    """
    from runner import api
    from runner.refresh.removal.sets import unfinished_refreshes

    loaded = read_plan(plan, sets, offline=True)  # the plan's steps do not run: what they need may be missing
    left = unfinished_refreshes([one.refresh for one in api.refreshes(loaded, env=os.environ)], loaded.name)
    last = api.history(loaded, env=os.environ, brief=True)[-1:]
    # status shows an abort that was cut off after its work as cut off, until another one ends
    if not left and not any(one.mode == "abort" and one.is_unfinished for one in last):
        if who := api.run_holder(loaded, env=os.environ):
            raise LockedError(
                f"another run of plan '{loaded.name}' is at work: {who}",
                hint=f"wait until it ends; planrun status {PLAN} shows how far it is",
                code="PR0501",
            )
        _print_nothing(loaded, output)
        return 0
    return run(lambda **hooks: api.abort(loaded, **hooks), output, yes=yes, verbose=verbose)


def _print_nothing(plan: Plan, output: str) -> None:
    told = {**about(plan, state="nothing to abort"), "exit_code": 0}
    if output == "json":
        print_json(told)
    elif output == "jsonl":
        print_json_line("nothing_to_abort", told)
    else:
        what = f"the database has no shadow tables, triggers or key journals of plan {one_line(plan.name)}"
        print_text(f"{database_lines(plan)}nothing to abort: {what}; the changes that its steps committed stay\n")
