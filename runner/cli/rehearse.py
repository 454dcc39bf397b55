"""planrun rehearse: run the plan and its rollback on scratch copies of its databases."""

from __future__ import annotations

import os
import sys

import click

from runner.cancel import Cancel
from runner.cli.common import (
    FORMATS,
    Terminal,
    interruptible,
    output_option,
    plan_argument,
    print_json_line,
    print_text,
    progress_on_signal,
    read_plan,
    set_option,
)
from runner.cli.log import log_format_option


@click.command(epilog="Example: planrun rehearse plans/prod.yml --rows sample")
@plan_argument
@set_option
@log_format_option
@output_option(*FORMATS)
@click.option(
    "--rows", type=click.Choice(["none", "sample", "all"]), default="none", show_default=True,
    help="Which rows the copies get; a sample has the rows that its foreign keys name.",
)  # fmt: skip
@click.option(
    "--sample", type=click.IntRange(1), default=1000, show_default=True, help="Rows of each table in a sample."
)
@click.option(
    "--on", default="", metavar="NAME", help="The server for the copies: a service, or a variable with a URL."
)
@click.option("-v", "--verbose", is_flag=True, help="Show every change and lock, and the exact SQL of each step.")
def command(plan: str, sets: tuple[str, ...], output: str, rows: str, sample: int, on: str, verbose: bool) -> int:
    """Run the plan and its rollback on scratch copies of its databases, which are only read.

    Tells what changes in the catalog, which locks are held for how long, and whether the rollback gives back the start.
    """
    from runner import api
    from runner.cli import log
    from runner.report import rehearsal

    loaded = read_plan(plan, sets)
    cancel = Cancel()
    terminal = Terminal(cancel, yes=True)
    with (
        interruptible(cancel, terminal),
        log.listen(output) as listener,
        progress_on_signal(listener.ask),
    ):
        terminal.pause = listener.pause

        def say(text: str) -> None:
            if output != "jsonl":
                print(text, file=sys.stderr, flush=True)

        result = api.rehearse(
            loaded,
            rows=rows,
            sample=sample,
            on=on,
            on_event=listener.event,
            say=say,
            cancel=cancel,
            env=os.environ,
            open_console=terminal.open_console,
        )
    if output == "jsonl":
        print_json_line("rehearsal", rehearsal.as_json(result, verbose=True))
    elif output == "text":
        print_text(rehearsal.render(result, "text", verbose=verbose), whole=verbose)
    else:
        print(rehearsal.render(result, output, verbose=verbose), end="")
    return result.exit_code
