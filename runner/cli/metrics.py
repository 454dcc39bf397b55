"""planrun metrics: write the metrics of plans from their journals and sessions, without a run."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from runner.cli.common import read_plan, set_option
from runner.cli.metrics_sink import owner_of
from runner.errors import PlanrunError, TargetError
from runner.report.colours import show

if TYPE_CHECKING:
    from runner.model import Plan
    from runner.monitoring.families import Sample
    from runner.monitoring.measures import RunMeasures


@click.command(
    epilog="\b\nExamples:\n  planrun metrics plans/*.yml --out /var/lib/node_exporter/textfile/planrun.prom\n"
    "  planrun metrics plans/backup.yml"
)
@click.argument("plans", nargs=-1, required=True, metavar="PLAN...", type=click.Path(dir_okay=False))
@set_option
@click.option(
    "--out", type=click.Path(), default="", metavar="FILE", help="A .prom file, or a folder; by default, print them."
)
def command(plans: tuple[str, ...], sets: tuple[str, ...], out: str) -> int:
    """Write the metrics of plans from their journals and sessions, for Prometheus. Nothing runs.

    A plan whose journal cannot be read keeps the metrics of its runs that the file has; its sessions are looked at all
    the same.
    """
    from runner.monitoring import metrics_file

    metrics_file.refuse_without_library()
    failures: list[PlanrunError] = []
    printed: list[Sample] = []
    for plan in plans:
        try:
            printed = _add(printed, read_plan(plan, sets, offline=True), out, failures)
        except PlanrunError as exc:
            failures.append(exc)
    if not out:
        print(metrics_file.as_text(metrics_file.Content(printed)).decode(), end="")
    for failure in failures[:-1]:
        show(f"error: {failure}", sys.stderr)
    if failures:
        raise failures[-1]
    return 0


def _add(printed: list[Sample], plan: Plan, out: str, failures: list[PlanrunError]) -> list[Sample]:
    """Write the samples of a plan into the file, or return them with those to print. What its journal does not tell is
    added to failures."""
    from runner.monitoring import families, metrics_file, sessions

    owner = owner_of(plan)
    path = metrics_file.place(out, owner.plan) if out else None
    if path is not None:
        metrics_file.refuse_conflict(path, owner)
    every = sessions.of_plan(plan)
    found = None if every is None else sessions.measure(every, datetime.now(UTC))
    runs: list[RunMeasures] = []
    try:
        runs = _runs(plan)
    except TargetError as exc:
        failures.append(exc)

    def change(old: list[Sample]) -> list[Sample]:
        new = families.with_sessions(old, owner, found)
        for run in runs:
            new = families.with_run(new, owner, run)
        return new

    if path is None:
        return change(printed)
    metrics_file.update(path, change)
    return printed


def _runs(plan: Plan) -> list[RunMeasures]:
    """Return the newest run of each mode. A run without an end is at work if its lock is held."""
    from runner import api
    from runner.monitoring import measures

    runs = api.history(plan, env=os.environ, brief=True)
    if runs and runs[-1].state == "cut off" and api.run_holder(plan, env=os.environ):
        runs[-1] = replace(runs[-1], state=measures.RUNNING)
    return [one for mode in measures.MODES if (one := measures.of_runs(runs, mode))]
