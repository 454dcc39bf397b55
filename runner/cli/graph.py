"""planrun graph: print the steps as Mermaid text, which pull requests draw."""

from __future__ import annotations

import click

from runner.cli.common import plan_argument, read_plan, set_option
from runner.words import safe


@click.command(epilog="Example: planrun graph plans/safe-migrate.yml")
@plan_argument
@set_option
def command(plan: str, sets: tuple[str, ...]) -> int:
    """Print the plan's steps, groups and guards as Mermaid text."""
    from runner.report.mermaid import graph

    print(safe(graph(read_plan(plan, sets, offline=True))), end="")
    return 0
