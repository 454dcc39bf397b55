"""planrun doctor: report problems of this machine or database, and what to type."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runner.cli.common import output_option, print_json, print_text, read_plan, set_option
from runner.words import one_line

if TYPE_CHECKING:
    from runner.doctor import Finding
    from runner.model import Plan


@click.command(epilog="\b\nExamples:\n  planrun doctor\n  planrun doctor plans/backup.yml")
@click.argument("plan", required=False, type=click.Path(dir_okay=False))
@set_option
@output_option("text", "json")
def command(plan: str | None, sets: tuple[str, ...], output: str) -> int:
    """Check versions, programs, the connection, privileges, pooling and disk; with PLAN, check what that plan needs."""
    from runner import doctor
    from runner.redact import Redactor

    loaded = read_plan(plan, sets, offline=True) if plan else None
    found = Redactor(loaded.env if loaded else {}, os.environ).of(doctor.examine(loaded, os.environ))
    if output == "json":
        from runner.report.envelope import envelope

        state = "failed" if any(one.exit_code for one in found) else "ok"
        head = envelope(state=state, plan=loaded.name if loaded else None, databases=_databases(loaded))
        print_json({**head, "findings": [vars(one) for one in found]})
    else:
        heads = "".join(f"{one_line(line)}\n" for line in _databases(loaded))
        print_text(heads + "".join(map(_finding, found)) + _next(found, loaded))
    return max((one.exit_code for one in found), default=0)


def _next(found: list[Finding], plan: Plan | None) -> str:
    """Return the line with the next command, "" if something must be mended first."""
    if any(one.exit_code for one in found):
        return ""
    return f"next: {one_line(plan.command('diff')) if plan else 'planrun init'}\n"


def _databases(plan: Plan | None) -> tuple[str, ...]:
    """Return the databases that are checked; without a plan, the one of the environment."""
    from runner import api
    from runner.database.connections import Connections
    from runner.redact import Redactor

    if plan is not None:
        return api.databases(plan, env=os.environ)
    return Redactor({}, os.environ).of(Connections({}, os.environ).lines())


def _finding(one: Finding) -> str:
    hint = "".join(f"      type: {one_line(line)}\n" for line in one.hint.splitlines())
    return f"{one.level:4}  {one_line(one.about)}: {one_line(one.message)}\n{hint}"
