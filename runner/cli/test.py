"""planrun test: run the cases of plans on a throw-away server."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from runner.cancel import Cancel
from runner.cli.common import Terminal, interruptible, output_option, print_json, print_text
from runner.errors import Interrupted
from runner.report.colours import show

if TYPE_CHECKING:
    from runner.cases.case import Case
    from runner.cases.result import CaseResult
    from runner.cases.suite import Suite

_JOBS = 4
"""How many cases run at the same time, where the machine has so many cores."""


@click.command(
    epilog="\b\nExamples:\n  planrun test plans/prod.yml\n  planrun test plans/ -o junit > report.xml\n"
    "  planrun test plans/prod.yml --case 'the old set stays' -v"
)
@click.argument("plans", nargs=-1, type=click.Path())
@click.option("--case", "names", multiple=True, metavar="NAME", help="Run only this case. May be repeated.")
@click.option(
    "--postgres", type=int, default=0, metavar="MAJOR", help="Version of the server for cases that name none."
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Cases that run at the same time. [default: cores, up to 4]")
@click.option("--update", is_flag=True, help="Write the files of expected texts anew; then read them.")
@click.option("--keep", is_flag=True, help="Keep the databases of cases that failed until Ctrl-C, to look into them.")
@output_option("text", "json", "junit")
@click.option("-v", "--verbose", is_flag=True, help="Show the diff and the report of each run.")
def command(
    plans: tuple[str, ...], names: tuple[str, ...], postgres: int, jobs: int | None, update: bool, keep: bool,
    output: str, verbose: bool,
) -> int:  # fmt: skip
    """Run the cases of PLANS on a throw-away server.

    PLANS are plans, whose cases are in a folder tests/ beside them, files of cases, or folders with any of these; by
    default, this folder. No database but those of the throw-away server is read or changed.
    """
    from runner.cases import search
    from runner.cases.suite import Suite

    cases = search.choose(search.find(plans, os.environ), names)
    cancel = Cancel()
    jobs = jobs or min(_JOBS, os.cpu_count() or 1)
    with (
        _without_addresses(),
        interruptible(cancel, Terminal(cancel)),
        Suite(cases, os.environ, jobs, postgres, update, keep, cancel) as suite,
    ):
        results = _run(suite, cases, output, verbose)
        if keep and any(one.failures for one in results):
            _wait(cancel)
    return 1 if any(one.failures for one in results) else 0


@contextlib.contextmanager
def _without_addresses() -> Iterator[None]:
    """Take the variables of libpq out of this process: a service in PGSERVICE is looked up whatever else is said."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _run(suite: Suite, cases: Sequence[Case], output: str, verbose: bool) -> list[CaseResult]:
    from pathlib import Path

    from runner.cases import report

    began = time.monotonic()
    show(report.head(cases), sys.stderr, flush=True)

    def tell(one: CaseResult) -> None:
        text = report.case_lines(one, verbose=verbose)
        if output == "text":
            print_text(text)
            sys.stdout.flush()
        else:
            show(text, sys.stderr, end="")

    results = suite.run(tell)
    took = time.monotonic() - began
    match output:
        case "json":
            print_json(report.as_json(results, suite.versions, took))
        case "junit":
            print(report.as_junit(results, Path.cwd()), end="")
        case _:
            print_text(report.sum_text(results, suite.versions, took))
    return results


def _wait(cancel: Cancel) -> None:
    """Wait until somebody has looked into the databases that are kept."""
    show("The server stays until Ctrl-C.", sys.stderr, flush=True)
    while cancel.reason is None:
        cancel.wait(3600)
    assert isinstance(cancel.reason, Interrupted)
