"""planrun diff: show what apply would do, read-only."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from runner.cancel import Cancel
from runner.cli.common import (
    FORMATS,
    Terminal,
    interruptible,
    offer,
    output_option,
    plan_argument,
    print_json,
    print_json_line,
    print_result,
    print_text,
    read_plan,
    set_option,
)
from runner.cli.log import log_format_option
from runner.errors import UsageError
from runner.report.colours import show

if TYPE_CHECKING:
    from runner.model import Plan
    from runner.rehearsal_result import RehearsalResult
    from runner.result import RunResult


@click.command(epilog="Example: planrun diff plans/backup.yml --set backup.path=/srv/backups")
@plan_argument
@set_option
@log_format_option
@output_option(*FORMATS, "github", "junit")
@click.option(
    "--until",
    default="",
    metavar="STEP",
    help="Stop after this step, as apply --until does.",
    shell_complete=offer("steps"),
)
@click.option("--rollback", is_flag=True, help="Show the plan's rollback instead.")
@click.option("--resume", is_flag=True, help="Show what apply --resume would do now.")
@click.option("--accept", default="", metavar="DIGEST", help="With --resume: accept the changed plan of this digest.")
@click.option("--base", default="", metavar="REV", help="Show only what differs from the plan as of this git revision.")
@click.option("--snapshot", default="", metavar="FILE", help="Ask a catalog file (planrun snapshot) and no database.")
@click.option("--out", default="", metavar="FILE", help="Save the diff in a file, for planrun apply FILE.")
@click.option("--rehearse", is_flag=True, help="Also rehearse it, and show the SQL that only a run can know.")
@click.option(
    "--rows", type=click.Choice(["none", "sample", "all"]), default="none", help="With --rehearse: rows of the copies."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if there is something to do.")
@click.option("-v", "--verbose", is_flag=True, help="Show every table and the whole SQL.")
def command(
    plan: str,
    sets: tuple[str, ...],
    output: str,
    until: str,
    rollback: bool,
    resume: bool,
    accept: str,
    base: str,
    snapshot: str,
    out: str,
    rehearse: bool,
    rows: str,
    detailed_exitcode: bool,
    verbose: bool,
) -> int:
    """Show what apply would do: guards, final SQL, tables, rows and bytes. Nothing is changed."""
    from runner import api
    from runner.cli import log

    if rollback and (resume or until):
        raise UsageError("--rollback shows the whole rollback", hint="leave out --resume and --until", code="PR0601")
    if rehearse and (rollback or resume or until or out or base or snapshot or output in ("github", "junit")):
        raise UsageError(
            "--rehearse is for the whole plan, as text, json, jsonl or markdown",
            hint="leave out --rollback, --resume, --until, --out, --base and --snapshot",
            code="PR0601",
        )
    if base or snapshot:
        used = {"--resume": resume, "--rollback": rollback, "--out": out, "--until": until if base else ""}
        _refuse_together("--base" if base else "--snapshot", used)
    if base:
        return _compare(plan, base, sets, output, snapshot, detailed=detailed_exitcode)
    loaded = read_plan(plan, sets, offline=bool(snapshot))
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        writer = log.writer(output)
        result = api.diff(
            loaded,
            rollback=rollback,
            until=until,
            resume=resume,
            accept=accept,
            snapshot=snapshot,
            out=out,
            cancel=cancel,
            on_event=writer.event,
        )
        rehearsal = _rehearse(loaded, rows, cancel) if rehearse else None
    if rehearsal:
        return _print_rehearsal(result, rehearsal, output, verbose=verbose)
    print_result(result, output, verbose=verbose)
    if out:
        said = (
            f"the diff was not saved in {out}, because a step fails"
            if result.exit_code
            else f"saved: planrun apply {shlex.quote(out)}"
        )
        show(said, sys.stderr)
    if result.exit_code:
        return result.exit_code
    return 2 if detailed_exitcode and result.something_to_do else 0


def _refuse_together(option: str, used: Mapping[str, object]) -> None:
    if found := [name for name, value in used.items() if value]:
        raise UsageError(
            f"{option} does not go with {', '.join(found)}",
            hint=f"leave out one of {option}, {found[0]}",
            code="PR1048",
        )


def _compare(plan: str, base: str, sets: tuple[str, ...], output: str, snapshot: str, *, detailed: bool) -> int:
    from runner.cli import compare

    if output not in compare.FORMATS:
        raise UsageError(f"--base has no output {output}", hint=f"one of {', '.join(compare.FORMATS)}", code="PR1048")
    return compare.run(
        plan, old="", base=base, sets=sets, output=output, live=not snapshot, snapshot=snapshot, detailed=detailed
    )


def _rehearse(plan: Plan, rows: str, cancel: Cancel) -> RehearsalResult:
    from runner import api

    return api.rehearse(plan, rows=rows, cancel=cancel, say=lambda text: print(text, file=sys.stderr, flush=True))


def _print_rehearsal(diff: RunResult, found: RehearsalResult, output: str, *, verbose: bool) -> int:
    """Print the diff with what the rehearsal found, then the rehearsal; return the exit code of whichever failed."""
    from runner.rehearsal_result import as_rehearsed
    from runner.report import rehearsal, results

    diff = as_rehearsed(diff, found)
    if output in ("json", "jsonl"):
        told = rehearsal.as_json(found, verbose=verbose)
        data = {**results.as_json(diff, verbose=verbose), "rehearsal": told["rehearsal"]}
        data |= {
            "exit_code": diff.exit_code or found.exit_code,
            "error": results.as_json(diff)["error"] or told["error"],
        }
        print_json(data) if output == "json" else print_json_line("diff", data)
    else:
        print_result(diff, output, verbose=verbose)
        print_text("\n" + rehearsal.render(found, output, verbose=False))
    return int(diff.exit_code or found.exit_code)
