"""planrun compare: show what one version of a plan does otherwise than another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from runner.cancel import Cancel
from runner.cli.common import Terminal, interruptible, output_option, print_json, print_text, read_plan, set_option
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.comparison import Comparison

FORMATS = ("text", "json", "markdown")


@click.command(epilog="Example: planrun compare --base main plans/prod.yml")
@click.argument("plans", nargs=-1, required=True, metavar="[OLD] NEW", type=click.Path(dir_okay=False))
@set_option
@output_option(*FORMATS)
@click.option("--base", default="", metavar="REV", help="Compare with the plan as of this revision of git.")
@click.option("--live", is_flag=True, help="Ask the databases, too, what becomes of each object.")
@click.option(
    "--snapshot", default="", metavar="FILE", help="Ask a catalog file (planrun snapshot) instead of databases."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if what the plans do differs.")
def command(
    plans: tuple[str, ...],
    sets: tuple[str, ...],
    output: str,
    base: str,
    live: bool,
    snapshot: str,
    detailed_exitcode: bool,
) -> int:
    """Show what NEW does otherwise than OLD, or than itself as of a revision: the most dangerous changes first.

    Steps, statements, locks, destructive actions and what protects them, settings. No database is asked without --live
    or --snapshot.
    """
    old, new = _sides(plans, base)
    if live and snapshot:
        raise UsageError("--live and --snapshot both say what to ask", hint="leave one of them out", code="PR1048")
    return run(
        new, old=old, base=base, sets=sets, output=output, live=live, snapshot=snapshot, detailed=detailed_exitcode
    )


def _sides(plans: tuple[str, ...], base: str) -> tuple[str, str]:
    """Return the old and the new file; the old one is "" where a revision has it."""
    if base and len(plans) == 1:
        return "", plans[0]
    if not base and len(plans) == 2:
        return plans[0], plans[1]
    if base:
        raise UsageError("--base compares one plan with itself", hint="planrun compare --base REV PLAN", code="PR1048")
    raise UsageError(
        f"compare takes two plans, not {len(plans)}",
        hint="planrun compare OLD.yml NEW.yml, or: planrun compare --base REV PLAN",
        code="PR1048",
    )


def run(
    new: str, *, old: str, base: str, sets: tuple[str, ...], output: str, live: bool, snapshot: str, detailed: bool
) -> int:
    """Compare, print, and return the exit code. One of `old` (a file) and `base` (a revision) is given."""
    from runner import api

    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        found = api.compare(
            read_plan(new, sets, offline=not live),
            old=old,
            base=base,
            set=sets,
            live=live,
            snapshot=snapshot,
            env=os.environ,
            cancel=cancel,
        )
    _print(found, output)
    if found.exit_code:
        return found.exit_code
    return 2 if detailed and found.differs else 0


def _print(found: Comparison, output: str) -> None:
    from runner.report import changes

    match output:
        case "json":
            print_json(changes.as_json(found))
        case "markdown":
            print(changes.markdown(found), end="")
        case _:
            print_text(changes.text(found))
