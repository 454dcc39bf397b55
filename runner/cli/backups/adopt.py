"""planrun backups adopt: register tables that an older tool put aside as a backup set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runner.cli.backups.chosen import plan_of_steps
from runner.cli.common import output_option, plan_argument, read_plan, set_option, yes_option
from runner.cli.log import log_format_option

if TYPE_CHECKING:
    from runner.model import Plan


@click.command(
    short_help="Adopt tables that an older tool put aside as a backup set.",
    epilog="\b\nExamples:\n  planrun backups adopt plans/prod.yml backup_Area backup_Users\n"
    "  planrun backups adopt plans/prod.yml old_users=users --schema sales",
)
@plan_argument
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@set_option
@yes_option
@click.option("--schema", default="public", show_default=True, metavar="NAME", help="The schema the tables are in.")
@log_format_option
@output_option()
def command(plan: str, tables: tuple[str, ...], sets: tuple[str, ...], yes: bool, schema: str, output: str) -> int:
    """Register existing tables as the backup set of their schema: backup_NAME, or TABLE=NAME.

    From then on, planrun lists, verifies and drops them as a set. Their names and rows stay.
    """
    from runner import api
    from runner.cli.apply import run

    loaded = read_plan(plan, sets, offline=True)
    named = [_adoption(given) for given in tables]
    values = {"tables": named, "schema": schema, "plan": loaded.name, **_connection(loaded)}
    made = plan_of_steps(loaded, "adopt", "adopt_backup_set", [values])
    return run(lambda **hooks: replace(api.apply(made, **hooks), next=""), output, yes=yes, verbose=False)


def _adoption(given: str) -> str | dict[str, str]:
    table, equals, of = given.partition("=")
    return {"table": table, "of": of} if equals else given


def _connection(plan: Plan) -> dict[str, str]:
    from runner import api

    names = api.refresh_connections(plan)
    return {"connection": names[0]} if names else {}
