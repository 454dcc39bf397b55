"""planrun demo: run the main jobs on a private PostgreSQL, with the commands that a user would type."""

from __future__ import annotations

from pathlib import Path

import click

from runner.errors import UsageError


@click.command(
    epilog="\b\nExamples:\n  planrun demo\n  planrun demo -v\n  planrun demo --shell\n"
    "  planrun demo --keep /tmp/planrun-demo"
)
@click.option("--keep", type=click.Path(file_okay=False), help="Keep the plans and the backups in this new folder.")
@click.option("-v", "--verbose", is_flag=True, help="Show the plans, and the whole output of each command.")
@click.option("--shell", is_flag=True, help="Open a shell with the sample databases instead, to try planrun yourself.")
def command(keep: str | None, verbose: bool, shell: bool) -> int:
    """Run the main jobs on an embedded PostgreSQL with sample data.

    The first half backs up tables, proves the backup, drops the tables and restores them. The second half replaces the
    tables of a live database with those of another one, twice, while clients use them, and rolls the last one back.
    """
    if keep and Path(keep).exists() and any(Path(keep).iterdir()):
        raise UsageError(f"{keep} is not empty", hint="planrun demo --keep FOLDER, with a new folder", code="PR1140")
    folder = Path(keep).absolute() if keep else None
    if shell:
        from runner.cli.demo.playground import open_playground

        return open_playground(folder)
    from runner.cli.demo.story import run

    run(folder, verbose=verbose)
    return 0
