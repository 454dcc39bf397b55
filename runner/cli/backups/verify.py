"""planrun backups verify: prove a session or a backup set, with a plan of one step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from runner.cancel import Cancel
from runner.cli.backups.chosen import environment_of, find_set, journal_in_file, plan_of_steps
from runner.cli.common import (
    Terminal,
    about,
    database_lines,
    interruptible,
    offer,
    output_option,
    plan_argument,
    print_json,
    print_text,
    progress_on_signal,
    read_plan,
    set_option,
)
from runner.cli.log import log_format_option
from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.model import Plan
    from runner.refresh.summary import Standing


@click.command(
    short_help="Prove that a session can be restored.",
    epilog="\b\nExamples:\n  planrun backups verify plans/backup.yml\n"
    "  planrun backups verify plans/backup.yml backup_2025-07 --level 2",
)
@plan_argument
@click.argument("session", default="latest", metavar="[SESSION|SET]", shell_complete=offer("sessions and sets"))
@set_option
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    default=3,
    show_default=True,
    help="1: checksums; 2: read every archive to its end; 3: restore into a scratch PostgreSQL and compare.",
)
@click.option(
    "--server",
    default="",
    metavar="URL",
    help="For level 3: a server on which planrun may create a scratch database; by default, planrun starts a "
    "private server.",
)
@log_format_option
@output_option("text", "json")
def command(plan: str, session: str, sets: tuple[str, ...], level: int, server: str, output: str) -> int:
    """Prove that a session can be restored, and record the level beside it. Exit code 6 if it cannot.

    For a backup SET: prove that every table exists, is the one that was put aside, and can be read to its end.
    """
    from runner import api
    from runner.backup import catalog
    from runner.errors import UsageError

    loaded = read_plan(plan, sets, offline=True)
    if (standing := find_set(loaded, session)) is not None:
        return _verify_set(loaded, standing, output)
    if api.refresh_connections(loaded) and not catalog.folders(loaded):
        raise UsageError(f"there is no backup set {session}", hint=loaded.command("backups list"), code="PR0605")
    folder = str(catalog.find(loaded, session))
    found = _verify_session(loaded, folder, level, server)
    if output == "json":
        tables = [{**one, "problem": ""} for one in found["tables"]]
        print_json({**about(loaded, state="ok"), **found, "tables": tables})
    else:
        print_text(database_lines(loaded) + _proof_text(found, folder))
    return 0


def _verify_session(plan: Plan, folder: str, level: int, server: str) -> Mapping[str, Any]:
    """Return the outputs of verify_backup. It opens no connection of the plan, whose database may be out of reach."""
    from runner.backup import scratch

    values = {"session": folder, "level": level, "server": "server" if server else ""}
    made = replace(plan_of_steps(plan, "verify", "verify_backup", [values]), journal=journal_in_file(plan))
    made = replace(made, connections={"server": {}} if server else {})
    env = environment_of(made)
    if server:
        scratch.words_of(server)  # so that the error for an invalid value names this option
        env["PLANRUN_SERVER_URL"] = server
    return _outputs(made, env)


def _verify_set(plan: Plan, standing: Standing, output: str) -> int:
    from runner.refresh import summary
    from runner.report import sets

    values = {"set": standing.refresh.id, "connection": standing.connection}
    made = plan_of_steps(plan, "verify", "verify_backup_set", [values])
    found = _outputs(replace(made, journal=journal_in_file(plan)), os.environ)
    if output == "json":
        print_json({**about(plan, state="ok"), "set": summary.as_json(standing.summary), **found})
    else:
        print_text(database_lines(plan) + sets.proof_text(standing, found))
    return 0


def _outputs(plan: Plan, env: Mapping[str, str]) -> Mapping[str, Any]:
    """Run a plan of one step that changes nothing, without a question; return its outputs. Raises its error."""
    from runner import api
    from runner.cli import log

    cancel = Cancel()
    with (
        interruptible(cancel, Terminal(cancel)),
        log.listen("text", quiet=True) as listener,
        progress_on_signal(listener.ask),
    ):
        result = api.apply(plan, env=env, cancel=cancel, on_event=listener.event)
    if result.error:
        raise result.error
    return result.steps[0].outputs


def _proof_text(found: Mapping[str, Any], folder: str) -> str:
    from runner.backup.verifying import LEVELS
    from runner.words import plural, size

    lines = [f"{found['session']}: verified at level {found['level']} ({LEVELS[found['level']]})"]
    counts = f"{plural(found['files'], 'file')}, {size(found['bytes'])}, {plural(found['rows'], 'row')}"
    lines.append(f"  {counts} in {folder}")
    if found["scratch"]:
        lines.append(f"  restored into PostgreSQL {found['scratch']}; rows and content are those of the snapshot:")
        lines += [f"    {TableName.of(one)}: {plural(one['rows'], 'row')}" for one in found["tables"]]
    lines += [f"  not proved: {what}" for what in found["left"]]
    return "\n".join(lines) + "\n"
