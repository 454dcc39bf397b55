"""planrun snapshot: write the structure and the sizes of a plan's databases to a catalog file."""

from __future__ import annotations

import os
import shlex
import sys

import click

from runner.cancel import Cancel
from runner.cli.common import (
    Terminal,
    database_lines,
    interruptible,
    plan_argument,
    print_text,
    read_plan,
    set_option,
)
from runner.report.colours import show
from runner.words import one_line, plural


@click.command(epilog="Example: planrun snapshot plans/prod.yml --out catalog.json")
@plan_argument
@set_option
@click.option("--out", required=True, metavar="FILE", help="The catalog file to write; one that is there is replaced.")
def command(plan: str, sets: tuple[str, ...], out: str) -> int:
    """Write a catalog file: structure and sizes of the plan's databases, for diffs without a database.

    It holds no rows, no comments, no bodies of functions and no passwords. Literals in defaults, checks, views and
    policies stay: read it before you commit it.
    """
    from runner import api

    loaded = read_plan(plan, sets, offline=True)
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        found = api.snapshot(loaded, out=out, cancel=cancel)
    print_text(database_lines(loaded))
    for one in found.databases:
        if not one.same_as:
            objects = plural(len(one.definitions), "definition")
            tables = plural(len(one.sizes), "table")
            print_text(f"  {one_line(one.connection or 'target')}: {objects}, the sizes of {tables}\n")
    quoted, file = shlex.quote(out), shlex.quote(plan)
    print_text(f"written: {one_line(out)}; read it before you commit it: literals in definitions are in it\n")
    show(f"next: planrun diff --snapshot {quoted} {file}", sys.stderr)
    return os.EX_OK
