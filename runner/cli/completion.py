"""planrun completion: print the script with which a shell completes commands, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(epilog='Example: eval "$(planrun completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for a shell."""
    from runner.cli import group

    found = get_completion_class(shell)
    assert found is not None
    print(found(group, {}, "planrun", "_PLANRUN_COMPLETE").source())
    return 0
