"""planrun explain: explain how a step of a run ended, what an error means, or what a word of a plan means."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from runner.cli.common import (
    about,
    database_lines,
    offer,
    output_option,
    print_json,
    print_text,
    read_plan,
    set_option,
)
from runner.error_codes import ErrorCode, error_codes
from runner.errors import UsageError
from runner.report.envelope import envelope

ERRORS_PAGE = "docs/errors.md"


@click.command(
    epilog="\b\nExamples:\n"
    "  planrun explain plans/backup.yml last\n"
    "  planrun explain plans/backup.yml last backup.dump\n"
    "  planrun explain PR0401\n"
    "  planrun explain find_tables.prefix"
)
@click.argument("what", metavar="PLAN|CODE|NAME", shell_complete=offer("explanations"))
@click.argument("run", default="", shell_complete=offer("runs"))
@click.argument("step", default="", shell_complete=offer("steps of a run"))
@set_option
@output_option("text", "json")
def command(what: str, run: str, step: str, sets: tuple[str, ...], output: str) -> int:
    """Explain a run, an error, or a word of a plan.

    With PLAN: why each step of RUN (by default the last one; or only STEP) ran, was skipped or failed. With CODE, such
    as PR0401: what the error means and what to do. With NAME: a kind, a template, or one of their keys.
    """
    if _is_plan(what):
        return _explain_run(what, run or "last", step, sets, output)
    if run or sets:
        raise UsageError(
            f"{what} is not a plan, and only a plan has runs", hint="give the file of the plan first", code="PR0601"
        )
    entry, text = _explanation(what)
    if output == "json":
        data = {"what": what, "text": text, "error_code": asdict(entry) if entry else None}
        print_json({**envelope(state="ok"), **data})
    else:
        print_text(text)
    return 0


def _is_plan(what: str) -> bool:
    return what.endswith((".yml", ".yaml")) or "/" in what or Path(what).is_file()


def _explanation(what: str) -> tuple[ErrorCode | None, str]:
    from runner.guard import nearest
    from runner.language import explanation
    from runner.report.error_page import explanation as explain_error

    if entry := error_codes().get(what.upper()):
        return entry, explain_error(entry)
    if text := explanation.explanation(what):
        return None, text
    hint = nearest(what, [*explanation.names(), *error_codes()]) or f"{ERRORS_PAGE} lists the codes"
    raise UsageError(f"there is nothing named {what} to explain", hint=hint, code="PR0608")


def _explain_run(plan: str, run: str, step: str, sets: tuple[str, ...], output: str) -> int:
    from runner import api
    from runner.guard import nearest
    from runner.report import runs

    loaded = read_plan(plan, sets, offline=True)
    found = {one.id: one for one in api.history(loaded, env=os.environ, brief=run == "last")}
    if not found:
        raise UsageError(f"{plan} has not been run yet", hint=loaded.command("apply"), code="PR0602")
    chosen = next(reversed(found.values())) if run == "last" else found.get(run)
    if chosen is None:
        raise UsageError(f"no run {run} of {plan}", hint=nearest(run, found), code="PR0602")
    known = [*chosen.planned_steps, *(chosen.hooks.every() if chosen.hooks else ())]
    if step and step not in known:
        raise UsageError(f"run {chosen.id} has no step {step}", hint=nearest(step, known), code="PR0602")
    if output == "json":
        print_json({**about(loaded, state=chosen.state, run=chosen.id), **runs.explain_json(chosen, step)})
    else:
        print_text(database_lines(loaded) + runs.explain(chosen, step), whole=True)
    return 0
