"""planrun notify: list who is told of the plan's runs, or send each of them a test message."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from runner.cancel import Cancel
from runner.cli.common import (
    Terminal,
    about,
    interruptible,
    output_option,
    plan_argument,
    print_json,
    print_text,
    read_plan,
    set_option,
)
from runner.errors import PlanrunError
from runner.words import one_line, seconds

if TYPE_CHECKING:
    from runner.notify.testing import RecipientAnswer


@click.command(epilog="Example: planrun notify plans/prod.yml --test")
@plan_argument
@set_option
@click.option("--test", is_flag=True, help="Send a test message to each of them, and say how it answered.")
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], test: bool, output: str) -> int:
    """List who is told of the plan's runs, and when; with --test, send each of them a test message.

    The exit code of --test is 1 if somebody could not be told.
    """
    from runner import api

    loaded = read_plan(plan, sets)
    if not loaded.notify:
        raise PlanrunError(
            f"{loaded.file} has no `notify:`: nobody is told of its runs",
            hint='add one, such as notify: [{url: "${env.SLACK_URL}", on: [failure]}]; planrun explain notify',
            code="PR1094",
        )
    found = []
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        for one in api.send_test_messages(loaded, cancel=cancel) if test else api.recipients(loaded):
            found.append(one)
            if output == "text":
                print_text(f"{_line(one)}\n")
    failed = any(one.state == "failed" for one in found)
    if output == "json":
        print_json({**about(loaded, state="failed" if failed else "ok"), "recipients": list(map(asdict, found))})
    return PlanrunError.exit_code if failed else 0


def _line(one: RecipientAnswer) -> str:
    if one.state == "not tried":
        return one_line(one.message)
    spent = f", in {seconds(one.seconds)}" if one.state != "skipped" else ""
    return f"{one_line(one.recipient)}: {one.state}: {one_line(one.message)}{spent}"
