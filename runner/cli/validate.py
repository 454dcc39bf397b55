"""planrun validate: report all problems that can be found offline, at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from runner.cli.common import output_option, print_json, print_text, set_option
from runner.errors import PlanError, Problem
from runner.report.colours import show
from runner.words import json_text, one_line


@click.command(epilog="Example: planrun validate plans/*.yml")
@click.argument("plans", nargs=-1, required=True, type=click.Path())
@set_option
@output_option("text", "json", "github", "gitlab", "sarif", "junit")
@click.option("-v", "--verbose", is_flag=True, help="Show by what each step that takes something away is protected.")
def command(plans: tuple[str, ...], sets: tuple[str, ...], output: str, verbose: bool) -> int:
    """Check plans offline: YAML, schema, guards, templates, SQL syntax. Report all problems at once.

    planrun proves that a step that drops, empties or replaces something runs only after its backup has succeeded. It
    checks a template of steps by itself, whatever its inputs, and a file of cases in a folder tests/ as `planrun test`
    does.
    """
    checked = {plan: _check(plan, sets) for plan in plans}
    chains = {plan: chains for plan, (_, chains) in checked.items() if verbose}
    found = {plan: problems for plan, (problems, _) in checked.items()}
    _show(found, chains, output)
    return PlanError.exit_code if any(found.values()) else 0


def _check(plan: str, sets: tuple[str, ...]) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Return the problems of a plan, and how each of its steps that remove something is protected."""
    from runner.planfile import open_plan, prove

    try:
        if "tests" in Path(plan).absolute().parent.parts and _is_case_file(plan):
            return _check_cases(plan), ()
        return (), tuple(one.chain for one in prove(open_plan(Path(plan), sets=sets, env=os.environ, offline=True)))
    except PlanError as exc:
        from runner.planfile import template_problems

        of_template = template_problems(Path(plan), os.environ)
        return exc.problems if of_template is None else of_template, ()


def _is_case_file(file: str) -> bool:
    from runner.cases.case_file import is_case_file

    return is_case_file(Path(file))


def _check_cases(file: str) -> tuple[Problem, ...]:
    """Return the problems of a file of cases and of the plans that it names."""
    from runner.cases import case_file

    try:
        case_file.read(Path(file), file, os.environ)
    except PlanError as exc:
        return exc.problems
    return ()


def _show(found: dict[str, tuple[Problem, ...]], chains: dict[str, tuple[str, ...]], output: str) -> None:
    from runner.report import problems

    every = tuple(problem for one in found.values() for problem in one)
    if output == "json":
        print_json(problems.as_json(every))
    elif output != "text":
        print(_report(found, output), end="")
    elif every:
        show(f"{problems.text(every)}\n{problems.count_text(every)}", sys.stderr)
    else:
        lines = [(plan, f"{one_line(plan)}: ok") for plan in found]
        shown = [[head, *(f"  {one_line(chain)}" for chain in chains.get(plan, ()))] for plan, head in lines]
        print_text("".join(f"{line}\n" for one in shown for line in one))


def _report(found: dict[str, tuple[Problem, ...]], output: str) -> str:
    """Return the report for another tool of the pull request."""
    from runner.report import github, gitlab, junit, sarif
    from runner.report.findings import findings

    folder = Path.cwd()
    match output:
        case "junit":
            return junit.of_problems(found, folder)
        case "github":
            return github.of_findings(findings(found, folder))
        case "gitlab":
            return json_text(gitlab.as_json(findings(found, folder)), indent=2) + "\n"
        case _:
            return json_text(sarif.as_json(findings(found, folder)), indent=2) + "\n"
