"""planrun backups restore: restore tables of a session, or list what it holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.backups.chosen import plan_of_steps
from runner.cli.backups.columns import table_text
from runner.cli.common import (
    about,
    offer,
    output_option,
    plan_argument,
    print_json,
    print_result,
    print_text,
    read_plan,
    set_option,
    yes_option,
)
from runner.cli.log import log_format_option
from runner.errors import UsageError
from runner.words import PLAN, shown_name, size

if TYPE_CHECKING:
    from runner.backup.manifest import Table
    from runner.model import Plan


@click.command(
    short_help="Put tables of a session back.",
    epilog="\b\nExamples:\n  planrun backups restore plans/backup.yml latest --table users\n"
    "  planrun backups restore plans/backup.yml latest --as-schema restored\n"
    "  planrun backups restore plans/backup.yml --at 2026-11-20 --list",
)
@plan_argument
@click.argument("session", default="", shell_complete=offer("sessions"))
@set_option
@yes_option
@click.option(
    "--at", default="", metavar="TIME", help="The newest session before this day or time (UTC), such as 2026-11-20."
)
@click.option("--list", "listed", is_flag=True, help="List the tables of the session; restore nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be restored and what is in the way; restore nothing.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="TABLE",
    help="Only this table; may be repeated.",
    shell_complete=offer("tables"),
)
@click.option("--schema", "schemas", multiple=True, metavar="NAME", help="Only tables of this schema; may be repeated.")
@click.option("--into", default="", metavar="URL", help="Restore into this database instead of the plan's.")
@click.option("--as-schema", default="", metavar="NAME", help="Put the tables into this schema, beside the live ones.")
@click.option("--replace", "replaced", is_flag=True, help="Drop the live tables in the same transaction.")
@click.option("--no-owner", is_flag=True, help="Leave owners and grants out.")
@click.option("--newest-good", is_flag=True, help="`latest` is the newest that is not damaged, however old it is.")
@log_format_option
@output_option()
def command(
    plan: str,
    session: str,
    sets: tuple[str, ...],
    yes: bool,
    at: str,
    listed: bool,
    dry_run: bool,
    tables: tuple[str, ...],
    schemas: tuple[str, ...],
    into: str,
    as_schema: str,
    replaced: bool,
    no_owner: bool,
    newest_good: bool,
    output: str,
) -> int:
    """Restore tables of a session in one transaction, and compare them with the backup before the COMMIT.

    SESSION is `latest`, a name, or the beginning of one. planrun first reads the session to its end. It refuses if a
    table already exists, unless --as-schema or --replace says what to do.
    """
    loaded = read_plan(plan, sets, offline=True)
    folder = _find(loaded, session, at, good=newest_good)
    if listed:
        return _list(loaded, folder, _tables(folder, tables, schemas), output)
    chosen = [*tables, *_names(folder, schemas)]
    values = {
        "from": str(folder),
        **({"tables": chosen} if tables or schemas else {}),
        "as_schema": as_schema,
        "replace": replaced,
        "owners": not no_owner,
    }
    return _restore(loaded, values, into, yes=yes, dry_run=dry_run, output=output)


def _find(plan: Plan, session: str, at: str, *, good: bool) -> Path:
    """Return the folder of the session that the command line means."""
    from runner.backup import catalog

    if bool(session) == bool(at):
        message = "name a session, or give a time with --at" + (", not both" if session else "")
        raise UsageError(message, hint=f"planrun backups list {PLAN}", code="PR0601")
    return catalog.find_before(plan, _moment(at), good=good) if at else catalog.find_good(plan, session, good=good)


def _moment(text: str) -> datetime:
    """Return the time that --at means; a day is its beginning, and a time without a zone is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {text}: not a time", hint="--at 2026-11-20, or --at 2026-11-20T02:30", code="PR0601"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _restore(plan: Plan, values: dict[str, Any], into: str, *, yes: bool, dry_run: bool, output: str) -> int:
    from runner import api
    from runner.cli.apply import run

    others = {name: text for name, text in os.environ.items() if name != "PLANRUN_TARGET_URL"}
    env = {**others, "PLANRUN_INTO_URL": into} if into else dict(os.environ)
    made = plan_of_steps(plan, "restore", "pg_restore", [values])
    if into:
        made = replace(made, connections={"into": {}})
    # its journal is a file, so the target needs no table of planrun
    made = replace(made, journal=plan.journal or "file")
    if dry_run:
        found = api.diff(made, env=env)
        print_result(found, output)
        return found.exit_code
    # a restore that failed has changed nothing: there is nothing to resume
    return run(lambda **hooks: replace(api.apply(made, env=env, **hooks), next=""), output, yes=yes, verbose=False)


# ------------------------------------------------------------------ what a session holds


def _names(folder: Path, schemas: Sequence[str]) -> list[dict[str, str]]:
    """Return the tables of these schemas, as a plan names them."""
    held = _tables(folder, (), schemas) if schemas else []
    return [{"schema": one.schema, "name": one.name} for one in held]


def _tables(folder: Path, tables: Sequence[str], schemas: Sequence[str]) -> list[Table]:
    """Return the tables of a session, of these names and schemas if any are named. Raises UsageError for another."""
    from runner.backup import sessions
    from runner.guard import nearest
    from runner.table_name import TableName

    held = sorted(sessions.read(folder).tables, key=lambda one: one.full_name)
    known = sorted({one.schema for one in held})
    for schema in schemas:
        if schema not in known:
            hint = nearest(schema, known)
            raise UsageError(f"no table of schema {schema} is in {folder.name}", hint=hint, code="PR0605")
    names = [TableName.parse(one) for one in tables]
    chosen = {one.full_name for one in held if one.schema in schemas}
    for name in names:
        same = {one.full_name for one in held if one.name == name[1] and name[0] in ("", one.schema)}
        if not same:
            hint = nearest(str(name), [str(one.full_name) for one in held])
            raise UsageError(f"table {name} is not in {folder.name}", hint=hint, code="PR0605")
        chosen |= same
    return [one for one in held if one.full_name in chosen or not (tables or schemas)]


def _list(plan: Plan, folder: Path, held: Sequence[Table], output: str) -> int:
    if output == "json":
        rows = [{"schema": o.schema, "name": o.name, "rows": o.rows, "bytes": o.bytes, "file": o.file} for o in held]
        print_json({**about(plan, state="ok"), "session": str(folder), "tables": rows})
        return 0
    lines = [(shown_name(o.schema, o.name), f"{o.rows:,}", size(o.bytes) if o.bytes else "", o.file) for o in held]
    print_text(f"session {folder}\n\n" + table_text(("TABLE", "ROWS", "SIZE", "FILE"), lines))
    return 0
