"""planrun backups list: the sessions and backup sets of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.backups.chosen import backup_sets
from runner.cli.backups.columns import table_text
from runner.cli.common import (
    about,
    database_lines,
    output_option,
    plan_argument,
    print_json,
    print_text,
    read_plan,
    set_option,
)

if TYPE_CHECKING:
    from runner.model import Plan
    from runner.refresh.summary import Standing
    from runner.session_facts import SessionFacts


@click.command(
    "list", short_help="The sessions, oldest first.", epilog="Example: planrun backups list plans/backup.yml -o json"
)
@plan_argument
@set_option
@output_option("text", "json")
def command(plan: str, sets: tuple[str, ...], output: str) -> int:
    """List the sessions in the folders that the plan's steps write to, and the backup sets in its database."""
    from runner import api
    from runner.backup import catalog
    from runner.refresh import summary

    loaded = read_plan(plan, sets, offline=True)
    swaps = bool(api.refresh_connections(loaded))
    found = catalog.list_sessions(loaded) if catalog.folders(loaded) or not swaps else []
    aside = backup_sets(loaded)
    if output == "json":
        rows = [{**asdict(facts), "folder": str(folder)} for folder, facts in found]
        more = {"sets": [summary.as_json(one.summary) for one in aside]} if swaps else {}
        print_json({**about(loaded, state="failed" if _code(found) else "ok"), "sessions": rows, **more})
        return _code(found)
    print_text(database_lines(loaded) + _list_text(loaded, found, aside, swaps=swaps))
    return _code(found)


def _code(found: Sequence[tuple[Path, SessionFacts]]) -> int:
    """Return the exit code of a list: 6 when a session in it is damaged."""
    return 6 if any(facts.state == "damaged" for _, facts in found) else 0


def _list_text(plan: Plan, found: list[tuple[Path, Any]], aside: list[Standing], *, swaps: bool) -> str:
    from runner.report import sets

    blocks = [table_text(_HEAD, [_row(folder, facts) for folder, facts in found])] if found else []
    blocks += [table_text(sets.HEAD, [sets.row(one) for one in aside])] if aside else []
    what = "backup set" if swaps else "session"
    return "\n".join(blocks) or f"no {what} yet; make one: {plan.command('apply')}\n"


_HEAD = ("SESSION", "STATE", "VERIFIED", "TABLES", "ROWS", "SIZE", "FOLDER")


def _row(folder: Path, facts: Any) -> tuple[str, ...]:
    from runner.words import size

    level = f"level {facts.verified}" if facts.verified else "no"
    counts = (f"{facts.tables:,}", f"{facts.rows:,}", size(facts.bytes))
    return (facts.name, facts.state, level, *counts, str(folder))
