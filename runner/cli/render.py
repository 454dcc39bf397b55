"""planrun render: show offline the steps in order, and what they would do."""

from __future__ import annotations

import click

from runner.cli.common import about, output_option, plan_argument, print_json, print_text, read_plan, set_option


@click.command(epilog="Example: planrun render plans/safe-migrate.yml -o json")
@plan_argument
@set_option
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], output: str) -> int:
    """Show the ordered steps with final SQL and argv, as far as they are known without a database."""
    from runner.report import results, text
    from runner.run.render import render_plan

    loaded = read_plan(plan, sets, offline=True)
    steps = render_plan(loaded)
    if output == "json":
        print_json({**about(loaded, state="ok"), "steps": [results.step_json(step, verbose=True) for step in steps]})
    else:
        lines = (
            line
            for step in text.groups_first(steps)
            for line in (*text.step_lines(text.before_run(step), verbose=True), "")
        )
        print_text("".join(f"{line}\n" for line in lines), whole=True)
    return 0
