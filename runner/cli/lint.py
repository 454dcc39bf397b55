"""planrun lint: report SQL of plans that holds up others for longer than it must."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.common import output_option, print_json, print_text, set_option
from runner.errors import PlanError, Problem
from runner.report.colours import show
from runner.words import json_text, one_line, plural

if TYPE_CHECKING:
    from runner.lint.lint import Linted


@click.command(epilog="Example: planrun lint plans/*.yml")
@click.argument("plans", nargs=-1, required=True, type=click.Path())
@set_option
@output_option("text", "json", "github", "gitlab", "sarif", "junit")
@click.option("--squawk", is_flag=True, help="Add the findings of squawk: pip install 'planrun[lint]'.")
@click.option("-v", "--verbose", is_flag=True, help="Show what comments accept, with the reasons.")
def command(plans: tuple[str, ...], sets: tuple[str, ...], output: str, squawk: bool, verbose: bool) -> int:
    """Report statements that lock tables for longer than they must, offline, with the lines of the SQL templates.

    A comment before a statement accepts a finding: -- lint: accept PR1024: the table has 200 rows
    """
    invalid: dict[str, tuple[Problem, ...]] = {}
    linted: dict[str, Linted] = {}
    for plan in plans:
        try:
            linted[plan] = _lint(plan, sets, squawk)
        except PlanError as exc:
            invalid[plan] = exc.problems
    found = {plan: invalid[plan] if plan in invalid else linted[plan].problems for plan in plans}
    _show(found, linted, output, verbose=verbose)
    if invalid:
        return PlanError.exit_code
    return 1 if any(found.values()) else 0


def _lint(plan: str, sets: tuple[str, ...], squawk: bool) -> Linted:
    from runner.lint.lint import Linted, lint

    if other := _other_file(plan):
        return Linted((), (), 0, other)
    return lint(Path(plan), sets=sets, env=os.environ, squawk=squawk)


def _other_file(file: str) -> str:
    """Return what a file is that is valid but no plan, "" for a plan. Raises PlanError for a template with problems."""
    from runner.cases.case_file import is_case_file
    from runner.planfile import template_problems

    if "tests" in Path(file).absolute().parent.parts and is_case_file(Path(file)):
        return "cases: the SQL of the plan that they name is looked at with that plan"
    found = template_problems(Path(file), os.environ)
    if found:
        raise PlanError(*found)
    return "" if found is None else "a template: its SQL is looked at with each plan that uses it"


def _show(found: dict[str, tuple[Problem, ...]], linted: dict[str, Linted], output: str, *, verbose: bool) -> None:
    from runner.report import problems

    every = tuple(problem for one in found.values() for problem in one)
    if output == "json":
        print_json(_as_json(found, linted))
    elif output != "text":
        print(_report(found, output), end="")
    else:
        if every:
            show(f"{problems.text(dict.fromkeys(every))}\n{problems.count_text(every)}", sys.stderr)
        print_text(
            "".join(f"{line}\n" for plan, one in linted.items() for line in _lines(plan, one, verbose=verbose)),
            whole=verbose,
        )


def _lines(plan: str, one: Linted, *, verbose: bool) -> list[str]:
    if one.other:
        return [f"{one_line(plan)}: {one.other}"]
    if one.problems:
        head = f"{one_line(plan)}: {plural(len(one.problems), 'finding')}"
    else:
        head = f"{one_line(plan)}: ok, {plural(one.texts, 'SQL text')}"
    accepted = f", {len(one.accepted):,} accepted" if one.accepted else ""
    shown = (
        f"  accepted: {one_line(f'{each.problem.where}: {each.problem.code} {each.problem.message}')}:"
        f" {one_line(each.reason)}"
        for each in one.accepted
    )
    return [head + accepted, *(shown if verbose else [])]


def _as_json(found: dict[str, tuple[Problem, ...]], linted: dict[str, Linted]) -> dict[str, Any]:
    from runner.report import problems
    from runner.report.envelope import envelope

    every = tuple(dict.fromkeys(problem for one in found.values() for problem in one))
    invalid = any(plan not in linted for plan in found)
    return {
        **envelope(state="invalid" if invalid else "findings" if every else "ok"),
        "clean": not every,
        "problems": problems.rows(every),
        "accepted": [
            {**problems.rows((each.problem,))[0], "reason": each.reason}
            for one in linted.values()
            for each in one.accepted
        ],
    }


def _report(found: dict[str, tuple[Problem, ...]], output: str) -> str:
    """Return what another tool of the pull request reads."""
    from runner.report import github, gitlab, junit, sarif
    from runner.report.findings import WARNING, findings

    folder = Path.cwd()
    every = findings(found, folder, level=WARNING)
    match output:
        case "junit":
            return junit.of_problems(found, folder)
        case "github":
            return github.of_findings(every)
        case "gitlab":
            return json_text(gitlab.as_json(every), indent=2) + "\n"
        case _:
            return json_text(sarif.as_json(every), indent=2) + "\n"
