"""planrun diff: show what apply would do, read-only."""

from __future__ import annotations

import shlex
import sys

import click

from runner.cancel import Cancel
from runner.cli.common import (
    FORMATS,
    Terminal,
    interruptible,
    output_option,
    plan_argument,
    print_result,
    read_plan,
    set_option,
)
from runner.errors import UsageError
from runner.report.colours import show


@click.command(epilog="Example: planrun diff plans/backup.yml --set backup.path=/srv/backups")
@plan_argument
@set_option
@output_option(*FORMATS, "github", "junit")
@click.option("--until", default="", metavar="STEP", help="Stop after this step, as apply --until does.")
@click.option("--rollback", is_flag=True, help="Show the plan's rollback instead.")
@click.option("--resume", is_flag=True, help="Show what apply --resume would do now.")
@click.option("--accept", default="", metavar="DIGEST", help="With --resume: accept the changed plan of this digest.")
@click.option("--out", default="", metavar="FILE", help="Save the diff in a file, for planrun apply FILE.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there is something to do.")
@click.option("-v", "--verbose", is_flag=True, help="Show every table and the whole SQL.")
def command(
    plan: str,
    sets: tuple[str, ...],
    output: str,
    until: str,
    rollback: bool,
    resume: bool,
    accept: str,
    out: str,
    detailed_exitcode: bool,
    verbose: bool,
) -> int:
    """Show what apply would do: guards, final SQL, tables, rows and bytes. Nothing is changed."""
    from runner import api
    from runner.report import results

    if rollback and (resume or until):
        raise UsageError("--rollback shows the whole rollback", hint="leave out --resume and --until", code="PR0601")
    loaded = read_plan(plan, sets)
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        writer = results.writer(output)
        result = api.diff(
            loaded,
            rollback=rollback,
            until=until,
            resume=resume,
            accept=accept,
            out=out,
            cancel=cancel,
            on_event=writer.event,
        )
    print_result(result, output, verbose=verbose)
    if out:
        said = (
            f"the diff was not saved in {out}, because a step fails"
            if result.exit_code
            else f"saved: planrun apply {shlex.quote(out)}"
        )
        show(said, sys.stderr)
    if result.exit_code:
        return result.exit_code
    return 2 if detailed_exitcode and result.something_to_do else 0
