"""planrun backups: the sessions of a plan listed, proved, put back and pruned."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cancel import Cancel
from runner.cli.common import (
    Terminal,
    interruptible,
    output_option,
    plan_argument,
    print_json,
    print_text,
    read_plan,
    set_option,
    yes_option,
)

if TYPE_CHECKING:
    from runner.backup.verifying import Verified
    from runner.kinds.retention import Decision
    from runner.model import Plan


@click.group(epilog="Example: planrun backups list plans/backup.yml")
def command() -> None:
    """List, verify, restore and prune backup sessions. SESSION is a name, its beginning, `latest` or a folder."""


# ------------------------------------------------------------------ list


@command.command(
    "list", short_help="The sessions, oldest first.", epilog="Example: planrun backups list plans/backup.yml -o json"
)
@plan_argument
@set_option
@output_option("text", "json")
def list_(plan: str, sets: tuple[str, ...], output: str) -> int:
    """List the sessions in the folders that the plan's steps write to, oldest first."""
    from runner.backup import catalog

    found = catalog.listed(read_plan(plan, sets, offline=True))
    if output == "json":
        rows = [{**asdict(facts), "folder": str(folder)} for folder, facts in found]
        print_json({"format_version": 1, "sessions": rows})
    elif found:
        print_text(_table(_HEAD, [_row(folder, facts) for folder, facts in found]))
    else:
        print_text(f"no session yet; make one: planrun apply {plan}\n")
    return 0


_HEAD = ("SESSION", "STATE", "VERIFIED", "TABLES", "ROWS", "SIZE", "FOLDER")


def _row(folder: Path, facts: Any) -> tuple[str, ...]:
    from runner.words import size

    level = f"level {facts.verified}" if facts.verified else "no"
    counts = (f"{facts.tables:,}", f"{facts.rows:,}", size(facts.bytes))
    return (facts.name, facts.state, level, *counts, str(folder))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return aligned lines; a column of numbers stands at the right."""
    every = [head, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(head))]
    right = [head[column] in ("TABLES", "ROWS", "SIZE") for column in range(len(head))]
    lines = (
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(row, widths, right, strict=True)
        )
        for row in every
    )
    return "".join(line.rstrip() + "\n" for line in lines)


# ------------------------------------------------------------------ verify


@command.command(
    short_help="Prove that a session can be restored.",
    epilog="\b\nExamples:\n  planrun backups verify plans/backup.yml\n"
    "  planrun backups verify plans/backup.yml backup_2025-07 --level 2",
)
@plan_argument
@click.argument("session", default="latest")
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
    help="For level 3: a server where a scratch database may be made; without it a private server is started.",
)
@output_option("text", "json")
def verify(plan: str, session: str, sets: tuple[str, ...], level: int, server: str, output: str) -> int:
    """Prove that a session can be restored, and note the level beside it. Exit code 6 when it cannot."""
    from runner.backup import catalog, scratch, verifying

    folder = catalog.find(read_plan(plan, sets, offline=True), session)
    words = scratch.words_of(server) if server else None
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        found = verifying.verify(folder, level, server=words, cancel=cancel)
    if output == "json":
        print_json({"format_version": 1, **_as_json(found)})
    else:
        print_text(_proved(found, folder))
    return 0


def _as_json(found: Verified) -> dict[str, Any]:
    data = asdict(replace(found, contents={}))
    del data["contents"]
    return data


def _proved(found: Verified, folder: Path) -> str:
    from runner.backup.verifying import LEVELS
    from runner.words import plural, shown_name, size

    lines = [f"{found.session}: verified at level {found.level} ({LEVELS[found.level]})"]
    lines.append(f"  {plural(found.files, 'file')}, {size(found.bytes)}, {plural(found.rows, 'row')} in {folder}")
    if found.scratch:
        lines.append(f"  restored into PostgreSQL {found.scratch}; rows and content are those of the snapshot:")
        lines += [f"    {shown_name(t.schema, t.name)}: {plural(t.rows, 'row')}" for t in found.tables]
    lines += [f"  not tried: {what}" for what in found.left]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------ restore


@command.command(
    short_help="Put tables of a session back.",
    epilog="\b\nExamples:\n  planrun backups restore plans/backup.yml latest --table users\n"
    "  planrun backups restore plans/backup.yml latest --as-schema restored",
)
@plan_argument
@click.argument("session")
@set_option
@yes_option
@click.option("--table", "tables", multiple=True, metavar="TABLE", help="Only this table; may be repeated.")
@click.option("--into", default="", metavar="URL", help="Restore into this database instead of the plan's.")
@click.option("--as-schema", default="", metavar="NAME", help="Put the tables into this schema, beside the live ones.")
@click.option("--replace", "replaced", is_flag=True, help="Drop the live tables in the same transaction.")
@click.option("--no-owner", is_flag=True, help="Leave owners and grants out.")
@output_option()
def restore(
    plan: str,
    session: str,
    sets: tuple[str, ...],
    yes: bool,
    tables: tuple[str, ...],
    into: str,
    as_schema: str,
    replaced: bool,
    no_owner: bool,
    output: str,
) -> int:
    """Put tables of a session back: one transaction, compared with what was taken before it is committed.

    The session is read to its end first. Tables that are there already are refused unless --as-schema or
    --replace says what to do with them.
    """
    from runner import api
    from runner.backup import catalog
    from runner.cli.apply import run

    loaded = read_plan(plan, sets, offline=True)
    values = {
        "from": str(catalog.find(loaded, session)),
        "tables": list(tables),
        "as_schema": as_schema,
        "replace": replaced,
        "owners": not no_owner,
    }
    env = {**os.environ, "PLANRUN_INTO_URL": into} if into else dict(os.environ)
    made = _one_step(loaded, values, into=bool(into))
    # a restore that failed has changed nothing: there is nothing to resume
    return run(lambda **hooks: replace(api.apply(made, env=env, **hooks), next=""), output, yes=yes, verbose=False)


def _one_step(plan: Plan, values: dict[str, Any], *, into: bool) -> Plan:
    """Return a plan that only restores. Its journal is a file: the target needs no table of planrun for it."""
    from runner.errors import Mark
    from runner.model import Step

    step = Step(id="restore", where=Mark(plan.file, 1, 1), kind="pg_restore", values=values)
    return replace(
        plan,
        name=f"{plan.name}_restore",
        steps=(step,),
        rollback=(),
        connections={"into": {}} if into else plan.connections,
        journal=plan.journal or "file",
    )


# ------------------------------------------------------------------ prune


@command.command(
    short_help="Remove what no rule keeps.", epilog="Example: planrun backups prune plans/backup.yml --dry-run"
)
@plan_argument
@set_option
@yes_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed, and why.")
@output_option("text", "json")
def prune(plan: str, sets: tuple[str, ...], yes: bool, dry_run: bool, output: str) -> int:
    """Remove the sessions that the plan's retention rules do not keep; never the last good one."""
    from runner.backup import catalog, sessions

    decided = catalog.to_prune(read_plan(plan, sets, offline=True), datetime.now(UTC))
    doomed = [(folder, decision.name) for folder, decision in decided if decision.action == "remove"]
    if output == "text":
        print_text("".join(f"{_decision(folder, decision)}\n" for folder, decision in decided) or "no sessions\n")
    removed: list[str] = []
    cancel = Cancel()
    terminal = Terminal(cancel, yes=yes)
    question = f"Remove {len(doomed)} of {len(decided)} sessions?"
    if doomed and not dry_run and terminal.ask(question):
        with interruptible(cancel, terminal):
            for folder, name in doomed:
                cancel.check()
                sessions.remove(folder, name)
                removed.append(str(folder / name))
    if output == "json":
        rows = [{"folder": str(folder), **decision._asdict()} for folder, decision in decided]
        print_json({"format_version": 1, "sessions": rows, "removed": removed})
    elif removed:
        print(f"removed {len(removed)}")
    return 0 if removed or dry_run or not doomed else 1


def _decision(folder: Path, decision: Decision) -> str:
    return f"{decision.action:6}  {folder / decision.name}  ({decision.reason})"
