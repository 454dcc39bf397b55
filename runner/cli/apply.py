"""planrun apply: show the diff, ask, run the plan."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from runner.cancel import Cancel
from runner.cli.common import (
    Terminal,
    interruptible,
    offer,
    output_option,
    plan_argument,
    print_result,
    progress_on_signal,
    read_plan,
    set_option,
    yes_option,
)
from runner.cli.log import log_format_option
from runner.cli.metrics_sink import metrics_option, metrics_sinks
from runner.cli.report_sink import report_address, report_option, report_to
from runner.cli.sinks import Sink, Sinks
from runner.errors import UsageError
from runner.report.colours import show

if TYPE_CHECKING:
    from runner.result import RunResult


@click.command(
    epilog="\b\nExamples:\n  planrun apply plans/backup.yml\n  planrun apply plans/prod.yml --until prepare\n"
    "  planrun apply plans/prod.yml --resume --yes\n  planrun apply p.plan"
)
@plan_argument
@set_option
@yes_option
@click.option(
    "--until",
    default="",
    metavar="STEP",
    help="Stop after this step; --resume continues later.",
    shell_complete=offer("steps"),
)
@click.option(
    "--resume", is_flag=True, help="Continue the last run where it stopped, without repeating finished steps."
)
@click.option(
    "--accept", default="", metavar="DIGEST", help="With --resume: accept the changed plan that has this digest."
)
@click.option("--keep-going", is_flag=True, help="Run the other items of a for_each if one fails (exit code 3).")
@report_option
@metrics_option
@log_format_option
@output_option()
@click.option("-v", "--verbose", is_flag=True, help="Show every table and the whole SQL in the diff.")
def command(
    plan: str,
    sets: tuple[str, ...],
    yes: bool,
    until: str,
    resume: bool,
    accept: str,
    keep_going: bool,
    report: str,
    metrics: str,
    output: str,
    verbose: bool,
) -> int:
    """Show the diff, ask, and run the plan step by step.

    PLAN may be a file that `planrun diff --out` wrote. It runs if the diff is still the same; else nothing runs.
    """
    from runner import api
    from runner.run import saved_plan

    if saved_plan.is_saved_plan(plan):
        given = {"--set": sets, "--until": until, "--resume": resume, "--accept": accept}
        extra = [name for name, value in given.items() if value]
        return _apply_saved(plan, extra, output, yes, keep_going, verbose, report, metrics)
    loaded = read_plan(plan, sets)
    with (
        report_to(report, partial(api.records, loaded)) as pages,
        metrics_sinks(metrics, loaded, "apply") as numbers,
    ):
        return run(
            lambda **hooks: api.apply(
                loaded,
                until=until,
                resume=resume,
                accept=accept,
                keep_going=keep_going,
                report=report_address(report, loaded.name),
                **hooks,
            ),
            output,
            yes=yes,
            verbose=verbose,
            sinks=[*pages, *numbers],
        )


def _apply_saved(
    file: str,
    given: list[str],
    output: str,
    yes: bool,
    keep_going: bool,
    verbose: bool,
    report: str,
    metrics: str,
) -> int:
    """Run a saved diff; show it first as it was saved. given: options that are valid only for a plan."""
    from runner import api
    from runner.run import saved_plan, saving

    saved = saved_plan.read(file)
    if "--resume" in given:
        hint = f"if its run was interrupted: {saving.resume(saved)}"
        raise UsageError(f"{file} is a saved plan: it can begin a run, but not resume one", hint=hint, code="PR0601")
    if given:
        raise UsageError(
            f"{file} was saved with its options: leave out {', '.join(given)}",
            hint=f"planrun show {file}",
            code="PR0601",
        )
    page = saved.pages["verbose" if verbose else "text"]
    loaded = saving.plan_of(saved, file, os.environ)
    with (
        report_to(report, partial(api.records, loaded)) as pages,
        metrics_sinks(metrics, loaded, "apply") as numbers,
    ):
        return run(
            lambda **hooks: api.apply_saved(
                file, keep_going=keep_going, report=report_address(report, loaded.name), **hooks
            ),
            output, yes=yes, verbose=verbose, page=page, sinks=[*pages, *numbers],
        )  # fmt: skip


def run(
    call: Callable[..., RunResult],
    output: str,
    *,
    yes: bool,
    verbose: bool,
    page: str = "",
    sinks: Sequence[Sink] = (),
) -> int:
    """Drive one apply or rollback with the listeners and questions of a terminal or of a pipe.

    page: the diff to show, "" for the current one. sinks: what else receives its events.
    """
    from runner.cli import log
    from runner.report import results

    log.refuse_questions(yes=yes)
    cancel = Cancel()
    terminal = Terminal(cancel, yes=yes)
    others = Sinks(sinks)
    with (
        interruptible(cancel, terminal),
        contextlib.closing(others),
        log.listen(output, brief=output == "text" and results.share_one_place()) as listener,
        progress_on_signal(listener.ask),
    ):
        terminal.pause = listener.pause

        def approve(diff: RunResult) -> bool:
            if (output == "text" and not log.is_on()) or not yes:  # no question about a diff that was not shown
                show(page or results.render(diff, "text", verbose=verbose), sys.stderr, whole=verbose)
            if diff.exit_code:
                return yes or terminal.ask("The diff above shows problems. Run the plan all the same?")
            where = f" ({diff.databases[0]})" if diff.databases else ""
            return terminal.ask(f"Run it?{where}") if diff.something_to_do else True

        result = call(
            approve=approve,
            confirm=lambda action: terminal.ask(action.message, action.expect),
            on_event=others.after(listener.event),
            cancel=cancel,
            open_console=terminal.open_console,
        )
    print_result(result, output, verbose=verbose, after=True)
    return int(result.exit_code)
