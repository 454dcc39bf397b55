"""planrun demo: run the main jobs on a private PostgreSQL, with the commands that a user would type."""

from __future__ import annotations

from pathlib import Path

import click

from runner.errors import UsageError


@click.command(epilog="\b\nExamples:\n  planrun demo\n  planrun demo -v\n  planrun demo --keep /tmp/planrun-demo")
@click.option("--keep", type=click.Path(file_okay=False), help="Keep the plans and the backups in this new folder.")
@click.option("-v", "--verbose", is_flag=True, help="Show the plans, and the whole output of each command.")
def command(keep: str | None, verbose: bool) -> int:
    """Run the main jobs on an embedded PostgreSQL with sample data.

    The first half backs up tables, proves the backup, drops the tables and restores them. The second half replaces the
    tables of a live database with those of another one, twice, while clients use them, and rolls the last one back.
    """
    from runner.cli.demo.story import run

    if keep and Path(keep).exists() and any(Path(keep).iterdir()):
        raise UsageError(f"{keep} is not empty", hint="planrun demo --keep FOLDER, with a new folder", code="PR1140")
    run(Path(keep).absolute() if keep else None, verbose=verbose)
    return 0
