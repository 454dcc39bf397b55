"""planrun reference: print the page in docs/ with every kind, its parameters and outputs."""

from __future__ import annotations

import click


@click.command(epilog="Example: planrun reference > docs/reference.md")
def command() -> int:
    """Print the reference page of the plan language as Markdown."""
    from runner.language.reference import page

    print(page(), end="")
    return 0
