"""planrun backups: list, check, verify, copy, restore, adopt and prune the sessions and backup sets of a plan."""

from __future__ import annotations

import click

from runner.cli.backups import adopt, check, copy, list, prune, restore, verify


@click.group(epilog="Example: planrun backups list plans/backup.yml")
def command() -> None:
    """List, check, verify, copy, restore and prune backup sessions, and the backup sets that swaps put aside.

    SESSION is a name, its beginning, `latest` or a folder; SET is an id or its beginning, or `latest`.
    """


_COMMANDS = {
    "list": list,
    "check": check,
    "verify": verify,
    "copy": copy,
    "restore": restore,
    "adopt": adopt,
    "prune": prune,
}

for _name, _module in _COMMANDS.items():
    command.add_command(_module.command, _name)
