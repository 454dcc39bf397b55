"""planrun rollback: run the plan's rollback steps, with their own diff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from runner.cli.apply import run
from runner.cli.common import output_option, plan_argument, read_plan, set_option, yes_option
from runner.cli.log import log_format_option
from runner.cli.metrics_sink import metrics_option, metrics_sinks
from runner.cli.report_sink import report_address, report_option, report_to

if TYPE_CHECKING:
    from runner.model import Step


@click.command(
    epilog="\b\nExamples:\n  planrun rollback plans/prod.yml\n  planrun rollback plans/prod.yml --accept-data-loss"
)
@plan_argument
@set_option
@yes_option
@click.option(
    "--accept-data-loss", is_flag=True, help="Roll back even if rows were written since the swap; these rows are lost."
)
@report_option
@metrics_option
@log_format_option
@output_option()
@click.option("-v", "--verbose", is_flag=True, help="Show the whole SQL in the diff.")
def command(
    plan: str,
    sets: tuple[str, ...],
    yes: bool,
    accept_data_loss: bool,
    report: str,
    metrics: str,
    output: str,
    verbose: bool,
) -> int:
    """Show the diff of the plan's `rollback:` steps, ask, and run them."""
    from runner import api

    loaded = read_plan(plan, sets)
    if accept_data_loss:
        loaded = replace(loaded, rollback=_accept_data_loss(loaded.rollback))
    with (
        report_to(report, partial(api.records, loaded)) as pages,
        metrics_sinks(metrics, loaded, "rollback") as numbers,
    ):
        sinks = [*pages, *numbers]
        address = report_address(report, loaded.name)
        return run(
            lambda **hooks: api.rollback(loaded, report=address, **hooks),
            output, yes=yes, verbose=verbose, sinks=sinks,
        )  # fmt: skip


def _accept_data_loss(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps with --accept-data-loss set; a plan cannot set it, because that would remove the guard."""
    return tuple(
        replace(
            step,
            steps=_accept_data_loss(step.steps),
            values={**step.values, "accept_data_loss": True} if step.kind == "swap_back" else step.values,
        )
        for step in steps
    )
