"""What a person needs after a run: where the old tables are and the way back, where the session is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from runner.model import State, command
from runner.result import RunResult, StepResult
from runner.words import one_line, plural, shown_name

_NAMED = 3


def lines(result: RunResult) -> Iterator[str]:
    """Yield what is there now, with the command for each; nothing for a run that failed, as `next:` says what to do.

    For the steps of an earlier attempt as well, because a person sees the end of the last one.
    """
    if result.state not in ("ok", "paused"):
        return
    done = [step for step in result.steps if step.state in (State.OK, State.WARNED)]
    verified = {step.outputs.get("session"): step.outputs.get("level") for step in _of(done, "verify_backup")}
    for step in _of(done, "pg_dump"):
        yield from _session(result, step, verified)
    gone = {one.get("id") for step in _of(done, "drop_backup_set") for one in _list(step, "sets")}
    swapped = [step for step in _of(done, "swap_tables") if step.outputs.get("set") not in gone]
    for step in swapped:
        yield from _old_tables(result, step)
    for step in _of(done, "shadow_load"):
        if step.outputs.get("set") not in {one.outputs.get("set") for one in swapped}:
            yield from _new_tables(result, step)
    for step in _of(done, "swap_back"):
        yield from _undone_tables(result, step)


def _of(steps: list[StepResult], kind: str) -> Iterator[StepResult]:
    return (step for step in steps if step.planned.step.kind == kind)


def _list(step: StepResult, name: str) -> list[Mapping[str, Any]]:
    found = step.outputs.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _session(result: RunResult, step: StepResult, verified: Mapping[Any, Any]) -> Iterator[str]:
    session = step.outputs.get("session")
    if not isinstance(session, str) or not session:
        return
    name = PurePath(session).name
    yield f"session: {one_line(session)}"
    if name in verified:
        yield f"  verified at level {verified[name]}"
    else:
        yield f"  verify it: {command(result.file, result.sets, 'backups verify', name)}"


def _old_tables(result: RunResult, step: StepResult) -> Iterator[str]:
    kept = [str(one["aside"]) for one in _list(step, "tables") if one.get("aside")]
    if not kept:
        return
    named = ", ".join(shown_name("", name) for name in kept[:_NAMED])
    more = f" and {len(kept) - _NAMED} more" if len(kept) > _NAMED else ""
    yield f"old tables: {named}{more}, as backup set {step.outputs['set']} of {shown_name('', step.outputs['schema'])}"
    if result.way_back:
        yield f"  the way back: {result.way_back}"
    else:
        yield "  a plan with swap_back puts them back"
    until = step.outputs.get("until")
    if isinstance(until, str) and until:
        yield f"  until {until[:16].replace('T', ' ')} UTC it loses no write"
    elif result.way_back:
        yield "  it loses what is written from now on, as the swap has no rollback_window"
    yield f"  drop them: {command(result.file, result.sets, 'backups prune', str(step.outputs['set']))}"


def _new_tables(result: RunResult, step: StepResult) -> Iterator[str]:
    count = step.outputs.get("count")
    what = plural(count, "new table") if isinstance(count, int) else "the new tables"
    yield f"prepared: {what} of {shown_name('', str(step.outputs.get('schema')))}; the live tables are unchanged"
    if not result.next:
        yield "  a plan with swap_tables puts them in their place"
    yield f"  give them up: {command(result.file, result.sets, 'abort')}"


def _undone_tables(result: RunResult, step: StepResult) -> Iterator[str]:
    yield f"put back: the old tables of {shown_name('', str(step.outputs.get('schema')))} are live again"
    yield f"  remove the tables that were undone: {command(result.file, result.sets, 'abort')}"
