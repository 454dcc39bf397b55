"""planrun report: write the report of a run, check that one fits its journal, or write the index of all runs."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.common import database_lines, print_text, read_plan, set_option
from runner.errors import PlanrunError, UsageError
from runner.words import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.model import Plan
    from runner.webpage.index_facts import PlanFacts


@click.command(
    epilog="\b\nExamples:\n"
    "  planrun report plans/prod.yml\n"
    "  planrun report plans/prod.yml 20250720T122655Z-3f9a -o report.html\n"
    "  planrun report plans/prod.yml --check report.html\n"
    "  planrun report --index reports plans/prod.yml plans/backup.yml"
)
@click.argument("words", nargs=-1, metavar="PLAN [RUN] | --index DIR [PLAN...]")
@set_option
@click.option("-o", "--output", default="", metavar="FILE", help="The file to write; - for stdout.")
@click.option(
    "--check", default="", metavar="FILE", help="Check that this report fits the journal; exit code 6 if not."
)
@click.option("--index", default="", metavar="DIR", help="Write DIR/index.html: all runs and sessions of the plans.")
def command(words: tuple[str, ...], sets: tuple[str, ...], output: str, check: str, index: str) -> int:
    """Write the report of a run as one HTML file, from the plan's journal alone.

    RUN is the id of a run, by default the last one. The file has no scripts and loads nothing from elsewhere. With
    --index, the page links to the reports in DIR; without a plan it tells of these reports alone.
    """
    _refuse_mixed(words, output, check, index)
    if index:
        return _index(Path(index).expanduser(), words, sets, output)
    plan = read_plan(words[0], sets, offline=True)
    if check:
        return _check(plan, Path(check).expanduser())
    return _report(plan, words[1] if len(words) > 1 else "last", output)


def _refuse_mixed(words: Sequence[str], output: str, check: str, index: str) -> None:
    if output in ("text", "json", "jsonl", "markdown"):
        hint = "the report is HTML; planrun explain PLAN RUN -o json has the same facts as JSON"
        raise UsageError(f"-o names the file of the report, not a format: {output}", hint=hint, code="PR0601")
    if index and check:
        raise UsageError("--index and --check do not go together", hint="give one of them", code="PR0601")
    if index:
        return
    if not words:
        raise UsageError("name a plan", hint="planrun report plans/prod.yml", code="PR0601")
    if len(words) > (1 if check else 2):
        hint = "the report names its run" if check else "planrun report --index DIR takes several plans"
        raise UsageError(f"too many words: {' '.join(words)}", hint=hint, code="PR0601")
    if check and output:
        raise UsageError("--check writes nothing, so -o has no meaning", hint="leave out -o", code="PR0601")


def _report(plan: Plan, run: str, output: str) -> int:
    from runner import api
    from runner.cli.backups.chosen import verb_plans
    from runner.webpage import run_page, stored_report

    chosen = _run_id(plan, run)
    records = api.records(plan, chosen, env=os.environ, also=verb_plans(plan))
    if not records:
        raise UsageError(f"the journal has no run {chosen} any more", hint=plan.command("history"), code="PR0602")
    text = run_page.page(records, made=datetime.now(UTC))
    if output == "-":
        print(text, end="")
        return 0
    name = str(next(one for one in records if one.get("event") == "run_began").get("plan", ""))
    file = Path(output).expanduser() if output else Path(stored_report.file_name(name, chosen))
    stored_report.write(file, text)
    told = stored_report.read(file)
    print_text(
        f"{database_lines(plan)}run {chosen} of {one_line(told.plan)}: {told.state}\nreport: {_display_path(file)}\n"
    )
    return 0


def _display_path(file: Path) -> str:
    return one_line(os.fspath(file))


def _run_id(plan: Plan, run: str) -> str:
    """Return the id of a run; "last" is the newest one of the plan itself. Raises UsageError if there is none."""
    from runner import api
    from runner.cli.backups.chosen import verb_plans
    from runner.guard import nearest

    also = () if run == "last" else verb_plans(plan)
    found = [one.id for one in api.history(plan, env=os.environ, also=also, brief=True)]
    if not found:
        raise UsageError(f"{plan.file} has not been run yet", hint=plan.command("apply"), code="PR0602")
    if run != "last" and run not in found:
        raise UsageError(f"no run {run} of {plan.file}", hint=nearest(run, found), code="PR0602")
    return found[-1] if run == "last" else run


def _check(plan: Plan, file: Path) -> int:
    from runner import api
    from runner.cli.backups.chosen import verb_plans
    from runner.webpage import stored_report

    stored = stored_report.read(file)
    records = api.records(plan, stored.run, env=os.environ, also=verb_plans(plan))
    print_text(database_lines(plan))
    print_text("".join(f"{one_line(line)}\n" for line in stored_report.check(stored, records)))
    return 0


# ------------------------------------------------------------------ the index


def _index(folder: Path, files: Sequence[str], sets: Sequence[str], output: str) -> int:
    from runner.webpage import index_page, stored_report

    if output:
        raise UsageError("--index names the folder already", hint="leave out -o", code="PR0601")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--index {folder}: that is a file", hint="name a folder; planrun makes it", code="PR1108")
    plans = [read_plan(file, sets, offline=True) for file in files]
    reports = stored_report.reports_in(folder) if folder.is_dir() else {}
    if not plans and not reports:
        raise UsageError(
            f"there is no report in {folder}, and no plan was named",
            hint="planrun report --index DIR plans/prod.yml",
            code="PR1110",
        )
    facts = [_plan_facts(plan) for plan in plans]
    file = folder / stored_report.INDEX
    stored_report.write(file, index_page.page(facts, reports, made=datetime.now(UTC)))
    for each in facts:
        for note in each.notes:
            print(f"warning: {one_line(each.name)}: {one_line(note)}", file=sys.stderr)
    print_text("".join(map(database_lines, plans)) + f"index: {_display_path(file)}\n")
    return 3 if any(each.notes for each in facts) else 0


def _plan_facts(plan: Plan) -> PlanFacts:
    """Return what the journal and the folders of a plan tell; what cannot be read is a note."""
    from runner import api
    from runner.backup import catalog
    from runner.cli.backups.chosen import verb_plans
    from runner.redact import Redactor
    from runner.webpage.index_facts import PlanFacts

    notes: list[str] = []
    try:
        milestones = api.milestones(plan, env=os.environ, also=verb_plans(plan))
    except PlanrunError as exc:
        milestones = []
        notes.append(f"its journal cannot be read: {Redactor(plan.env, os.environ).text(exc.message)}")
    try:
        sessions = catalog.list_sessions(plan) if catalog.folders(plan) else []
    except PlanrunError as exc:
        sessions = []
        notes.append(f"its sessions cannot be read: {exc.message}")
    return PlanFacts(
        name=plan.name,
        file=plan.file,
        databases=api.databases(plan, env=os.environ),
        milestones=milestones,
        sessions=[(str(folder), facts) for folder, facts in sessions],
        notes=notes,
    )
