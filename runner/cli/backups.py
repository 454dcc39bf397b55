"""planrun backups: the sessions and backup sets of a plan listed, proved, put back, adopted and pruned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cancel import Cancel
from runner.cli.common import (
    Terminal,
    about,
    database_lines,
    interruptible,
    output_option,
    plan_argument,
    print_json,
    print_result,
    print_text,
    read_plan,
    set_option,
    yes_option,
)

if TYPE_CHECKING:
    from runner.backup.verifying import Verified
    from runner.kinds.base import SessionFacts
    from runner.kinds.retention import Decision
    from runner.model import Plan
    from runner.refresh.summary import Standing


@click.group(epilog="Example: planrun backups list plans/backup.yml")
def command() -> None:
    """List, verify, restore and prune backup sessions, and the backup sets that swaps put aside.

    SESSION is a name, its beginning, `latest` or a folder; SET is an id or its beginning, or `latest`.
    """


# ------------------------------------------------------------------ list


@command.command(
    "list", short_help="The sessions, oldest first.", epilog="Example: planrun backups list plans/backup.yml -o json"
)
@plan_argument
@set_option
@output_option("text", "json")
def list_(plan: str, sets: tuple[str, ...], output: str) -> int:
    """List the sessions in the folders that the plan's steps write to, and the backup sets in its database."""
    from runner import api
    from runner.backup import catalog
    from runner.refresh import summary

    loaded = read_plan(plan, sets, offline=True)
    swaps = bool(api.refresh_connections(loaded))
    found = catalog.list_sessions(loaded) if catalog.folders(loaded) or not swaps else []
    aside = _sets(loaded)
    if output == "json":
        rows = [{**asdict(facts), "folder": str(folder)} for folder, facts in found]
        more = {"sets": [summary.as_json(one.told) for one in aside]} if swaps else {}
        print_json({**about(loaded), "sessions": rows, **more})
        return _code(found)
    print_text(database_lines(loaded) + _list_text(loaded, found, aside, swaps=swaps))
    return _code(found)


def _code(found: Sequence[tuple[Path, SessionFacts]]) -> int:
    """Return the exit code of a list: 6 when a session in it is damaged."""
    return 6 if any(facts.state == "damaged" for _, facts in found) else 0


def _list_text(plan: Plan, found: list[tuple[Path, Any]], aside: list[Standing], *, swaps: bool) -> str:
    from runner.report import sets

    blocks = [_table(_HEAD, [_row(folder, facts) for folder, facts in found])] if found else []
    blocks += [_table(sets.HEAD, [sets.row(one) for one in aside])] if aside else []
    what = "backup set" if swaps else "session"
    return "\n".join(blocks) or f"no {what} yet; make one: {plan.command('apply')}\n"


def _sets(plan: Plan) -> list[Standing]:
    """Return the backup sets in the plan's database, oldest first; without asking when no step swaps."""
    from runner import api
    from runner.refresh.removal import sets

    standings = api.refreshes(plan, env=os.environ)
    kept = {one.id for one in sets.backups(one.refresh for one in standings)}
    return [one for one in standings if one.refresh.id in kept]


def _find_set(plan: Plan, name: str) -> Standing | None:
    """Return the set that a name means; `latest` is a session's where the plan makes any."""
    from runner.backup import catalog

    every = _sets(plan)
    if name == "latest":
        return every[-1] if every and not catalog.folders(plan) else None
    exact = [one for one in every if one.refresh.id == name]
    found = exact or [one for one in every if one.refresh.id.startswith(name)]
    return found[0] if len(found) == 1 else None


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
@click.argument("session", default="latest", metavar="[SESSION|SET]")
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
    """Prove that a session can be restored, and note the level beside it. Exit code 6 when it cannot.

    Of a backup SET: that every table is there, is the one that was put aside, and can be read to its end.
    """
    from runner import api
    from runner.backup import catalog, scratch, verifying
    from runner.errors import UsageError

    loaded = read_plan(plan, sets, offline=True)
    if (standing := _find_set(loaded, session)) is not None:
        return _verify_set(loaded, standing, output)
    if api.refresh_connections(loaded) and not catalog.folders(loaded):
        raise UsageError(f"there is no backup set {session}", hint=loaded.command("backups list"))
    folder = catalog.find(loaded, session)
    words = scratch.words_of(server) if server else None
    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        found = verifying.verify(folder, level, server=words, cancel=cancel)
    if output == "json":
        print_json({**about(loaded), **_as_json(found)})
    else:
        print_text(database_lines(loaded) + _proof_text(found, folder))
    return 0


def _verify_set(plan: Plan, standing: Standing, output: str) -> int:
    from runner import api
    from runner.refresh import summary
    from runner.report import sets

    cancel = Cancel()
    with interruptible(cancel, Terminal(cancel)):
        found = api.verify_set(plan, standing, env=os.environ, cancel=cancel)
    if output == "json":
        print_json({**about(plan), "set": summary.as_json(standing.told), **found})
    else:
        print_text(database_lines(plan) + sets.proof_text(standing, found))
    return 0


def _as_json(found: Verified) -> dict[str, Any]:
    data = asdict(replace(found, contents={}))
    del data["contents"]
    return data


def _proof_text(found: Verified, folder: Path) -> str:
    from runner.backup.verifying import LEVELS
    from runner.words import plural, shown_name, size

    lines = [f"{found.session}: verified at level {found.level} ({LEVELS[found.level]})"]
    lines.append(f"  {plural(found.files, 'file')}, {size(found.bytes)}, {plural(found.rows, 'row')} in {folder}")
    if found.scratch:
        lines.append(f"  restored into PostgreSQL {found.scratch}; rows and content are those of the snapshot:")
        lines += [f"    {shown_name(t.schema, t.name)}: {plural(t.rows, 'row')}" for t in found.tables]
    lines += [f"  not proved: {what}" for what in found.left]
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
@click.option("--newest-good", is_flag=True, help="`latest` is the newest that is not damaged, however old it is.")
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
    newest_good: bool,
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
        "from": str(catalog.find_good(loaded, session, good=newest_good)),
        **({"tables": list(tables)} if tables else {}),
        "as_schema": as_schema,
        "replace": replaced,
        "owners": not no_owner,
    }
    others = {name: text for name, text in os.environ.items() if name != "PLANRUN_TARGET_URL"}
    env = {**others, "PLANRUN_INTO_URL": into} if into else dict(os.environ)
    made = _single_step_plan(loaded, "pg_restore", values)
    if into:
        made = replace(made, connections={"into": {}})
    # its journal is a file: the target needs no table of planrun for it
    made = replace(made, journal=loaded.journal or "file")
    # a restore that failed has changed nothing: there is nothing to resume
    return run(lambda **hooks: replace(api.apply(made, env=env, **hooks), next=""), output, yes=yes, verbose=False)


def _single_step_plan(plan: Plan, kind: str, values: dict[str, Any]) -> Plan:
    """Return a plan of one step, with a name of its own: its runs are none of the plan's, nor what --resume means."""
    from runner.errors import Mark
    from runner.model import Step

    verb = {"pg_restore": "restore", "drop_backup_set": "prune", "adopt_backup_set": "adopt"}[kind]
    step = Step(id=verb, where=Mark(plan.file, 1, 1), kind=kind, values=values)
    return replace(plan, name=f"{plan.name}_{verb}", steps=(step,), rollback=())


# ------------------------------------------------------------------ adopt


@command.command(
    short_help="Take tables that an older tool put aside for a backup set.",
    epilog="\b\nExamples:\n  planrun backups adopt plans/prod.yml backup_Area backup_Users\n"
    "  planrun backups adopt plans/prod.yml old_users=users --schema sales",
)
@plan_argument
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@set_option
@yes_option
@click.option("--schema", default="public", show_default=True, metavar="NAME", help="The schema the tables are in.")
@output_option()
def adopt(plan: str, tables: tuple[str, ...], sets: tuple[str, ...], yes: bool, schema: str, output: str) -> int:
    """Register tables that are there as the backup set of their schema: backup_NAME, or TABLE=NAME.

    They are listed, verified and dropped as a set of planrun from then on. Their names and rows stay.
    """
    from runner import api
    from runner.cli.apply import run

    loaded = read_plan(plan, sets, offline=True)
    named = [_adoption(given) for given in tables]
    values = {"tables": named, "schema": schema, "plan": loaded.name, **_connection(loaded)}
    made = _single_step_plan(loaded, "adopt_backup_set", values)
    return run(lambda **hooks: replace(api.apply(made, **hooks), next=""), output, yes=yes, verbose=False)


def _adoption(given: str) -> str | dict[str, str]:
    table, equals, of = given.partition("=")
    return {"table": table, "of": of} if equals else given


def _connection(plan: Plan) -> dict[str, str]:
    from runner import api

    names = api.refresh_connections(plan)
    return {"connection": names[0]} if names else {}


# ------------------------------------------------------------------ prune


@command.command(
    short_help="Remove what no rule keeps, or drop a backup set.",
    epilog="\b\nExamples:\n  planrun backups prune plans/backup.yml --dry-run\n"
    "  planrun backups prune plans/prod.yml 20250720T122655Z-3f9a",
)
@plan_argument
@click.argument("chosen", default="", metavar="[SET]")
@set_option
@yes_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed, and why.")
@output_option("text", "json")
def prune(plan: str, chosen: str, sets: tuple[str, ...], yes: bool, dry_run: bool, output: str) -> int:
    """Remove the sessions that the plan's retention rules do not keep; never the last good one.

    With SET, drop that backup set from the database instead, whatever the rules say.
    """
    from runner.backup import catalog, sessions

    loaded = read_plan(plan, sets, offline=True)
    if chosen:
        return _prune_set(loaded, chosen, yes=yes, dry_run=dry_run, output=output)
    decided = catalog.to_prune(loaded, datetime.now(UTC))
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
        print_json({**about(loaded), "sessions": rows, "removed": removed})
    elif removed:
        print(f"removed {len(removed)}")
    return 0 if removed or dry_run or not doomed else 1


def _prune_set(plan: Plan, chosen: str, *, yes: bool, dry_run: bool, output: str) -> int:
    from runner import api
    from runner.cli.apply import run
    from runner.errors import UsageError

    standing = _find_set(plan, chosen)
    if standing is None:
        raise UsageError(f"there is no backup set {chosen}", hint=plan.command("backups list"))
    made = _single_step_plan(plan, "drop_backup_set", {"set": standing.refresh.id, "connection": standing.connection})
    if dry_run:
        print_result(api.diff(made), output)
        return 0
    return run(lambda **hooks: replace(api.apply(made, **hooks), next=""), output, yes=yes, verbose=False)


def _decision(folder: Path, decision: Decision) -> str:
    return f"{decision.action:6}  {folder / decision.name}  ({decision.reason})"
