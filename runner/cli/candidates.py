"""What a shell offers where a word of a plan is typed: its steps, runs, sessions, backup sets, tables and settings.

A problem is no offer: nothing is printed and nothing fails. What needs a database has a deadline.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

from runner.words import one_line

if TYPE_CHECKING:
    import click

    from runner.model import Plan, Step

DEADLINE = 1.0
"""Seconds for what only a database knows; a person waits with a finger on the key."""

Offer = tuple[str, str]
"""A word and its explanation."""


def find(what: str, context: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """Return the words of one kind that begin with what is typed."""
    if what == "explanations":
        return _explanations(incomplete)
    with contextlib.suppress(Exception):  # no plan, an invalid plan, an unreadable folder: nothing to offer
        plan = _plan(context)
        offers = list(_OFFLINE[what](plan, context)) if what in _OFFLINE else []
        if what in _ONLINE:
            from runner import api  # noqa: F401  its modules load before the clock runs

            offers += _in_time(_ONLINE[what](plan, context))
        found = ((word, one_line(text)) for word, text in offers if word.startswith(incomplete))
        return [CompletionItem(word, help=text or None) for word, text in found]
    return []


def _plan(context: click.Context) -> Plan:
    from runner.planfile import open_plan

    named = context.params.get("plan") or context.params.get("what")
    # click gives an option without its value, and then what it has not taken for an argument
    file = named or next(word for word in context.args if not word.startswith("-"))
    return open_plan(Path(str(file)), env=os.environ, offline=True)


def _in_time(work: Iterator[Offer]) -> list[Offer]:
    """Return what is found until the deadline; work may wait for a server."""
    found: list[Offer] = []

    def run() -> None:
        with contextlib.suppress(Exception):
            found.extend(work)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    return list(found)


# ------------------------------------------------------------------ known offline


def _steps(plan: Plan, context: click.Context) -> Iterator[Offer]:
    def walk(steps: Iterable[Step], prefix: str) -> Iterator[Offer]:
        for step in steps:
            yield prefix + step.id, step.description or step.kind or step.template
            yield from walk(step.steps, f"{prefix}{step.id}.")

    yield from walk(plan.steps, "")


def _settings(plan: Plan, context: click.Context) -> Iterator[Offer]:
    """Yield the params of a plan, and the settings of its `backup:`, each with the = that follows."""
    from runner.language import load

    for name, text in load.setting_names(Path(plan.file)):
        yield f"{name}=", text


def _sessions(plan: Plan, context: click.Context) -> Iterator[Offer]:
    from runner.backup import catalog
    from runner.words import size

    yield "latest", "the newest session"
    for _, facts in reversed(catalog.list_sessions(plan) if catalog.folders(plan) else []):
        level = f", verified at level {facts.verified}" if facts.verified else ""
        yield facts.name, f"{facts.state}, {size(facts.bytes)}{level}"


def _tables(plan: Plan, context: click.Context) -> Iterator[Offer]:
    """Yield the tables of the session that is named before."""
    from runner.backup import catalog, sessions
    from runner.words import plural

    folder = catalog.find(plan, str(context.params.get("session") or (*context.args[1:2], "latest")[0]))
    for table in sessions.read(folder).tables:
        name = table.name if table.schema == "public" else f"{table.schema}.{table.name}"
        yield name, plural(table.rows, "row")


def _explanations(incomplete: str) -> list[CompletionItem[str]]:
    """Return codes and kinds, and the files of plans."""
    from runner import kinds
    from runner.error_codes import error_codes

    words = [(code, entry.title) for code, entry in error_codes().items() if incomplete.upper().startswith("PR")]
    words += [(name, "a kind") for name in kinds.names() if incomplete]
    found = [CompletionItem(word, help=text) for word, text in words if word.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


# ------------------------------------------------------------------ known to the journal or the database


def _runs(plan: Plan, context: click.Context) -> Iterator[Offer]:
    from runner import api

    for run in reversed(api.history(plan, env=os.environ, brief=True)):
        yield run.id, f"{run.mode}: {run.state}"
    yield "last", "the newest run"


def _steps_of_run(plan: Plan, context: click.Context) -> Iterator[Offer]:
    from runner import api

    name = context.params.get("run") or "last"
    runs = [one for one in api.history(plan, env=os.environ, brief=name == "last") if name in ("last", one.id)]
    for path in runs[-1].planned_steps if runs else ():
        state = runs[-1].outcomes.get(path, {}).get("state", "")
        yield path, str(state)


def _sets(plan: Plan, context: click.Context) -> Iterator[Offer]:
    from runner import api
    from runner.cli.backups.chosen import backup_sets

    if api.refresh_connections(plan):
        for one in reversed(backup_sets(plan)):
            yield one.refresh.id, f"backup set of schema {one.refresh.schema}"


_OFFLINE: dict[str, Callable[[Plan, click.Context], Iterator[Offer]]] = {
    "steps": _steps,
    "settings": _settings,
    "sessions": _sessions,
    "sessions and sets": _sessions,
    "tables": _tables,
}
_ONLINE: dict[str, Callable[[Plan, click.Context], Iterator[Offer]]] = {
    "sessions and sets": _sets,
    "sets": _sets,
    "runs": _runs,
    "steps of a run": _steps_of_run,
}
