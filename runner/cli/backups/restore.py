"""planrun backups restore: restore tables of a session."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from runner.cli.backups.chosen import plan_of_steps
from runner.cli.common import offer, output_option, plan_argument, read_plan, set_option, yes_option
from runner.cli.log import log_format_option


@click.command(
    short_help="Put tables of a session back.",
    epilog="\b\nExamples:\n  planrun backups restore plans/backup.yml latest --table users\n"
    "  planrun backups restore plans/backup.yml latest --as-schema restored",
)
@plan_argument
@click.argument("session", shell_complete=offer("sessions"))
@set_option
@yes_option
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="TABLE",
    help="Only this table; may be repeated.",
    shell_complete=offer("tables"),
)
@click.option("--into", default="", metavar="URL", help="Restore into this database instead of the plan's.")
@click.option("--as-schema", default="", metavar="NAME", help="Put the tables into this schema, beside the live ones.")
@click.option("--replace", "replaced", is_flag=True, help="Drop the live tables in the same transaction.")
@click.option("--no-owner", is_flag=True, help="Leave owners and grants out.")
@click.option("--newest-good", is_flag=True, help="`latest` is the newest that is not damaged, however old it is.")
@log_format_option
@output_option()
def command(
    plan: str,
    session: str,
    sets: tuple[str, ...],
    yes: bool,
    tables: tuple[str, ...],
    into: str,
    as_schema: str,
    replaced: bool,
    no_owner: bool,
    newest_good: bool,
    output: str,
) -> int:
    """Restore tables of a session in one transaction, and compare them with the backup before the COMMIT.

    planrun first reads the session to its end. It refuses if a table already exists, unless --as-schema or
    --replace says what to do.
    """
    from runner import api
    from runner.backup import catalog
    from runner.cli.apply import run

    loaded = read_plan(plan, sets, offline=True)
    values = {
        "from": str(catalog.find_good(loaded, session, good=newest_good)),
        **({"tables": list(tables)} if tables else {}),
        "as_schema": as_schema,
        "replace": replaced,
        "owners": not no_owner,
    }
    others = {name: text for name, text in os.environ.items() if name != "PLANRUN_TARGET_URL"}
    env = {**others, "PLANRUN_INTO_URL": into} if into else dict(os.environ)
    made = plan_of_steps(loaded, "restore", "pg_restore", [values])
    if into:
        made = replace(made, connections={"into": {}})
    # its journal is a file, so the target needs no table of planrun
    made = replace(made, journal=loaded.journal or "file")
    # a restore that failed has changed nothing: there is nothing to resume
    return run(lambda **hooks: replace(api.apply(made, env=env, **hooks), next=""), output, yes=yes, verbose=False)
