"""planrun backups copy: copy a session to another place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from runner.cli.backups.chosen import environment_of, journal_in_file, plan_of_steps
from runner.cli.common import offer, output_option, plan_argument, read_plan, set_option
from runner.cli.log import log_format_option
from runner.errors import UsageError
from runner.units import is_url, place


@click.command(
    short_help="Copy a session to another folder or an object store.",
    epilog="\b\nExamples:\n  planrun backups copy plans/backup.yml latest --to s3://bucket/backups\n"
    "  planrun backups copy plans/backup.yml s3://bucket/backups/backup_2025-07-20T12-26-55-178Z --to ./backups",
)
@plan_argument
@click.argument("session", shell_complete=offer("sessions"))
@set_option
@click.option(
    "--to", required=True, metavar="PLACE", help="A folder, or s3://, gs:// or az:// with a bucket and a name."
)
@log_format_option
@output_option()
def command(plan: str, session: str, sets: tuple[str, ...], to: str, output: str) -> int:
    """Copy SESSION (`latest`, a name, or a URL) and read it back where it lies then.

    The credentials of a store come from the environment: AWS_ACCESS_KEY_ID and the like, or the role of the machine.
    """
    from runner import api
    from runner.backup import catalog
    from runner.cli.apply import run

    loaded = read_plan(plan, sets, offline=True)
    try:
        values = {
            "session": place(session, Path.cwd()) if is_url(session) else str(catalog.find(loaded, session)),
            "to": place(to, Path.cwd()),
        }
    except ValueError as exc:
        raise UsageError(str(exc), hint="--to s3://bucket/backups, or a folder", code="PR0601") from None
    made = plan_of_steps(loaded, "copy", "copy_session", [values])
    made = replace(made, journal=journal_in_file(loaded))
    env = environment_of(made)
    return run(lambda **hooks: replace(api.apply(made, env=env, **hooks), next=""), output, yes=True, verbose=False)
