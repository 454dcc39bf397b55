"""planrun backups prune: remove sessions by rules or by name, or drop one backup set, by a plan of such steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from runner.cancel import Cancel
from runner.cli.backups.chosen import environment_of, find_set, journal_in_file, plan_of_steps
from runner.cli.common import (
    Terminal,
    about,
    interruptible,
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
from runner.names import is_session_name

if TYPE_CHECKING:
    from runner.model import Plan
    from runner.result import RunResult


@click.command(
    short_help="Remove what no rule keeps, or drop a backup set.",
    epilog="\b\nExamples:\n  planrun backups prune plans/backup.yml --dry-run\n"
    "  planrun backups prune plans/backup.yml backup_2025-07-20T12-26-55-178Z\n"
    "  planrun backups prune plans/prod.yml 20250720T122655Z-3f9a",
)
@plan_argument
@click.argument("chosen", default="", metavar="[SESSION|SET]", shell_complete=offer("sets"))
@set_option
@yes_option
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and why; remove nothing.")
@log_format_option
@output_option("text", "json")
def command(plan: str, chosen: str, sets: tuple[str, ...], yes: bool, dry_run: bool, output: str) -> int:
    """Remove the sessions that the plan's retention rules do not keep; never the last good one.

    With the full name of a SESSION, remove just that one, whatever the rules say. With SET, drop that backup set from
    the database.
    """
    loaded = read_plan(plan, sets, offline=True)
    if is_session_name(chosen.removesuffix(".partial")):
        return _prune_session(loaded, chosen, yes=yes, dry_run=dry_run, output=output)
    if chosen:
        return _prune_set(loaded, chosen, yes=yes, dry_run=dry_run, output=output)
    return _prune_sessions(loaded, yes=yes, dry_run=dry_run, output=output)


# ------------------------------------------------------------------ sessions


class _Decision(NamedTuple):
    """What becomes of one session, and why."""

    folder: str
    name: str
    action: str
    reason: str

    @property
    def path(self) -> Path:
        return Path(self.folder, self.name)


def _prune_sessions(plan: Plan, *, yes: bool, dry_run: bool, output: str) -> int:
    from runner.backup import catalog

    made = replace(plan_of_steps(plan, "prune", "retention", catalog.rules(plan)), journal=journal_in_file(plan))
    decided = _decide(made)
    if output == "text":
        print_text("".join(map(_line, decided)) or "no sessions\n")
    doomed = [one for one in decided if one.action == "remove"]
    question = f"Remove {len(doomed)} of {len(decided)} sessions?"
    removed = _remove(made, question, yes=yes) if doomed and not dry_run else []
    return _tell(plan, decided, removed, dry_run=dry_run, output=output)


def _prune_session(plan: Plan, name: str, *, yes: bool, dry_run: bool, output: str) -> int:
    """Remove one session that a person named in full; for the last good or proved one, they type the name again."""
    from runner.backup import catalog, sessions

    folder = catalog.find(plan, name).parent
    steps = [{"path": str(folder), "plan": plan.name, "sessions": [name]}]
    made = replace(plan_of_steps(plan, "prune", "retention", steps), journal=journal_in_file(plan))
    decided = [one for one in _decide(made) if one.action == "remove"]
    if output == "text":
        print_text("".join(map(_line, decided)))
    others = sessions.last_ones([facts for place, facts in catalog.list_sessions(plan) if place == folder])
    last = name in others
    question = f"Remove {name}?" + (" It is the last good or the last proved session." if last else "")
    removed = [] if dry_run else _remove(made, question, yes=yes, expect=name if last else "")
    return _tell(plan, decided, removed, dry_run=dry_run, output=output)


def _decide(plan: Plan) -> list[_Decision]:
    """Return what the retention steps of a plan decide now. Raises the error of the diff."""
    from runner import api

    found = api.diff(plan, env=environment_of(plan))
    if found.error:
        raise found.error
    return list(_decisions(found))


def _line(one: _Decision) -> str:
    return f"{one.action:6}  {one.path}  ({one.reason})\n"


def _tell(plan: Plan, decided: Sequence[_Decision], removed: Sequence[_Decision], *, dry_run: bool, output: str) -> int:
    """Print the result; return the exit code, 1 if the answer to the question was no."""
    doomed = [one for one in decided if one.action == "remove"]
    if output == "json":
        rows = [one._asdict() for one in decided]
        state = "ok" if removed or dry_run or not doomed else "declined"
        print_json({**about(plan, state=state), "sessions": rows, "removed": [str(one.path) for one in removed]})
    elif removed:
        print(f"removed {len(removed)}")
    return 0 if removed or dry_run or not doomed else 1


def _remove(plan: Plan, question: str, *, yes: bool, expect: str = "") -> list[_Decision]:
    """Ask and remove; return what was removed, nothing if the answer was no. Raises the error of the run."""
    from runner import api
    from runner.cli import log

    cancel = Cancel()
    terminal = Terminal(cancel, yes=yes)
    if not terminal.ask(question, expect):
        return []
    with interruptible(cancel, terminal):
        result = api.apply(plan, env=environment_of(plan), cancel=cancel, on_event=log.receiver())
    if result.error:
        raise result.error
    return [one for one in _decisions(result) if one.action == "remove"]


def _decisions(result: RunResult) -> Iterator[_Decision]:
    for step in result.steps:
        folder = str(step.planned.step.values["path"])
        kept, removed = (_of(action, folder, step.outputs[name]) for action, name in _OUTPUTS)
        yield from sorted((*kept, *removed), key=lambda one: one.name)  # the names sort by time


_OUTPUTS = (("keep", "kept"), ("remove", "removed"))


def _of(action: str, folder: str, found: Iterable[dict[str, str]]) -> Iterator[_Decision]:
    yield from (_Decision(folder, one["session"], action, one["reason"]) for one in found)


# ------------------------------------------------------------------ a backup set


def _prune_set(plan: Plan, chosen: str, *, yes: bool, dry_run: bool, output: str) -> int:
    from runner import api
    from runner.cli.apply import run
    from runner.errors import UsageError

    standing = find_set(plan, chosen)
    if standing is None:
        raise UsageError(f"there is no backup set {chosen}", hint=plan.command("backups list"), code="PR0605")
    made = plan_of_steps(
        plan, "prune", "drop_backup_set", [{"set": standing.refresh.id, "connection": standing.connection}]
    )
    if dry_run:
        print_result(api.diff(made), output)
        return 0
    return run(lambda **hooks: replace(api.apply(made, **hooks), next=""), output, yes=yes, verbose=False)
