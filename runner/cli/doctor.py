"""planrun doctor: what is wrong with this machine or database, and what to type."""

from __future__ import annotations

import os

import click

from runner.cli.common import output_option, print_json, read_plan, set_option


@click.command(epilog="Examples:  planrun doctor   |   planrun doctor plans/backup.yml")
@click.argument("plan", required=False, type=click.Path(dir_okay=False))
@set_option
@output_option("text", "json")
def command(plan: str | None, sets: tuple[str, ...], output: str) -> int:
    """Check versions, programs, the connection, privileges, pooling, disk; with PLAN, what that plan needs."""
    from runner import doctor

    loaded = read_plan(plan, sets, offline=True) if plan else None
    found = doctor.examine(loaded, os.environ)
    if output == "json":
        print_json({"format_version": 1, "findings": [vars(one) for one in found]})
    else:
        for one in found:
            print(f"{one.level:4}  {one.about}: {one.message}")
            if one.hint:
                print(f"      type: {one.hint}")
    return max((one.exit_code for one in found), default=0)
