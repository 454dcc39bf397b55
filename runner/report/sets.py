"""Format shadow tables and backup sets for status and backups. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from runner.journal.history import RunRecord
from runner.model import Plan
from runner.refresh import summary
from runner.refresh.capture import change_capture
from runner.refresh.summary import Standing
from runner.report import runs
from runner.words import plural, shown_name


def as_json(one: Standing, plan: Plan, run: RunRecord | None, holder: str) -> dict[str, Any]:
    return {
        **summary.as_json(one.summary),
        "keys_waiting": one.waiting,
        "next": [command for _, command in _commands(one, plan, run, holder)],
    }


def status(standings: Sequence[Standing], plan: Plan, run: RunRecord | None, holder: str, now: datetime) -> str:
    """Return a block of lines for each refresh: its state, what it waits for, what to type."""
    return "".join(f"{line}\n" for one in standings for line in _lines(one, plan, run, holder, now))


def _lines(one: Standing, plan: Plan, run: RunRecord | None, holder: str, now: datetime) -> Iterator[str]:
    yield summary.headline(one.summary, now)
    if one.summary.missing:
        yield f"  gone: {', '.join(one.summary.missing)}"
    if one.waiting is not None:
        what = "a TRUNCATE, so all rows" if one.waiting >= change_capture.ALL else plural(one.waiting, "changed key")
        yield f"  waiting to be copied: {what}"
    if _at_work(one, run, holder):
        yield "  a run is at work on it"
    elif one.refresh.state == "loading" and one.refresh.plan == plan.name:
        yield "  a run that is no longer at work left it unfinished; the live tables are unchanged"
    if one.refresh.state != "swapped" and one.refresh.plan != plan.name:
        yield f"  belongs to plan {shown_name('', one.refresh.plan)}: planrun status of that plan says what to type"
    yield from (f"  {what}: {command}" for what, command in _commands(one, plan, run, holder))


def _at_work(one: Standing, run: RunRecord | None, holder: str) -> bool:
    return bool(holder) and run is not None and run.id == one.refresh.id


def _commands(one: Standing, plan: Plan, run: RunRecord | None, holder: str) -> Iterator[tuple[str, str]]:
    """Yield what can be done with a refresh, and the command for it."""
    state = one.refresh.state
    if state == "swapped":
        if plan.rollback and one.refresh.plan == plan.name and not one.refresh.record.adopted:
            yield "put it back", plan.command("rollback")
        yield "drop it", plan.command("backups prune", one.refresh.id)
    elif one.refresh.plan == plan.name and not _at_work(one, run, holder):
        if run and run.id == one.refresh.id and _resumable(run):
            yield "go on", runs.next_command(run, plan, holder)
        yield "remove it", plan.command("abort")


def _resumable(run: RunRecord) -> bool:
    return run.mode == "apply" and run.is_unfinished and (not run.ended or "--resume" in run.next)


# ------------------------------------------------------------------ backups list


HEAD = ("SET", "STATE", "SCHEMA", "TABLES", "ROWS", "SIZE", "MADE", "BY RUN")


def row(one: Standing) -> tuple[str, ...]:
    """Return the cells of a set in `backups list`; ~ stands before a number of rows that is an estimate."""
    from runner.words import size

    told = one.summary
    rows = "?" if told.rows is None else f"{'' if told.exact else '~'}{told.rows:,}"
    state = "backup" if told.state == "swapped" else "undone"
    counts = (f"{told.tables:,}", rows, size(told.bytes))
    by = "adopted" if one.refresh.record.adopted else f"{told.id} of {shown_name('', told.plan)}"
    return (told.id, state, shown_name("", told.schema), *counts, f"{told.since:%Y-%m-%d %H:%M}", by)


def proof_text(standing: Standing, found: Mapping[str, Any]) -> str:
    """Return the text of `backups verify` for a set: each table by its current name, with its rows."""
    lines = [f"{standing.summary.id}: {plural(found['count'], 'table')} there, marked and read to the end"]
    lines += [f"  {shown_name(one['schema'], one['name'])}: {plural(one['rows'], 'row')}" for one in found["tables"]]
    return "".join(f"{line}\n" for line in lines)
