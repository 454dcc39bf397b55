"""planrun explain: show from the journal why a step ran, was skipped or failed."""

from __future__ import annotations

import os

import click

from runner.cli.common import (
    about,
    database_lines,
    output_option,
    plan_argument,
    print_json,
    print_text,
    read_plan,
    set_option,
)
from runner.errors import UsageError


@click.command(
    epilog="\b\nExamples:\n  planrun explain plans/backup.yml last\n  planrun explain plans/backup.yml last backup.dump"
)
@plan_argument
@click.argument("run", default="last")
@click.argument("step", default="")
@set_option
@output_option("text", "json")
def command(plan: str, run: str, step: str, sets: tuple[str, ...], output: str) -> int:
    """Explain why each step of RUN (or only STEP) ran, was skipped or failed: guard, values, actions, messages."""
    from runner import api
    from runner.guard import nearest
    from runner.report import runs

    loaded = read_plan(plan, sets, offline=True)
    found = {one.id: one for one in api.history(loaded, env=os.environ)}
    if not found:
        raise UsageError(f"{plan} has not been run yet", hint=loaded.command("apply"))
    chosen = next(reversed(found.values())) if run == "last" else found.get(run)
    if chosen is None:
        raise UsageError(f"no run {run} of {plan}", hint=nearest(run, found))
    if step and step not in chosen.planned_steps:
        raise UsageError(f"run {chosen.id} has no step {step}", hint=nearest(step, chosen.planned_steps))
    if output == "json":
        print_json({**about(loaded, state=chosen.state, run=chosen.id), **runs.explain_json(chosen, step)})
    else:
        print_text(database_lines(loaded) + runs.explain(chosen, step))
    return 0
