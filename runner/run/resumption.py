"""Decide how to resume: whether the plan is still the same, what the previous attempt left, what to do again."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.database import commits
from runner.database.connections import Connections
from runner.errors import ChangedError, PlanrunError, UnknownStateError, UsageError
from runner.events import Resuming
from runner.journal.history import READING, RunRecord
from runner.journal.records import Record
from runner.model import Plan, State
from runner.redact import Redactor
from runner.words import PLAN, one_line, plural, printable

DIGITS = 12
"""Characters of a digest that are shown and must be typed to accept it: 48 bits distinguish two texts."""

LINES = 40
"""How many lines of differences are shown; an error is no place for a completely different plan."""


def same_plan(run: RunRecord, plan: Plan, accept: str, redactor: Redactor) -> None:
    """Allow a run to continue with the plan that it began with, or with a change that was accepted by digest.

    If the plan changed, answers to `confirm` steps are forgotten. Raises ChangedError with the differences, also if
    `accept` is the digest of another text; UsageError if `accept` is given although nothing changed.
    """
    accepted = len(accept) >= DIGITS and plan.digest.startswith(accept)
    if run.digest == plan.digest:
        if accept and not accepted:
            raise UsageError(
                "the plan did not change: there is nothing to accept", hint="leave --accept out", code="PR0504"
            )
        return
    run.change()
    if accepted:
        return
    done = ", ".join(describe(run).done)
    wrong = f"--accept {accept} is not the digest of the plan as it is now (all {DIGITS} characters are needed)"
    lines = [
        *([wrong] if accept else []),
        f"the plan changed since run {run.id} began (digest {run.digest[:DIGITS]} then, {plan.digest[:DIGITS]} now):",
        *differences(run, plan, redactor),
        *([f"  finished, and not repeated even if the plan changed there: {done}"] if done else []),
    ]
    raise ChangedError("\n".join(lines), hint="\n  ".join(_ways(run, plan)), code="PR0503")


def _ways(run: RunRecord, plan: Plan) -> Iterator[str]:
    """Yield the commands to choose from when the plan has changed."""
    if run.sets != plan.sets:
        yield f"continue with the plan as it was: {replace(plan, sets=run.sets).again('apply', run.options)}"
    accepting = (*run.options, "--accept", plan.digest[:DIGITS])
    yield f"{'or ' * (run.sets != plan.sets)}continue with the changed plan: {plan.again('apply', accepting)}"
    yield f"or start again: {plan.command('apply')}"


def differences(run: RunRecord, plan: Plan, redactor: Redactor) -> list[str]:
    """Return what changed in the files, the params and the `--set` words, with two lines for each changed line."""
    if not run.content:
        return ["  (the run did not record the text of its plan)"]
    then, now = _whole(run.content, run.sets), _whole(redactor.of(plan.content), redactor.of(plan.sets))
    names = dict.fromkeys((*then, *now))
    lines = [line for name in names for line in _changes(_display_path(name, plan), then.get(name), now.get(name))]
    if not lines:
        return ["  a value that is kept secret, in the params or the --set words"]
    over = len(lines) - LINES
    return [*lines[:LINES], *([f"  and {plural(over, 'line')} more"] if over > 0 else [])]


def _whole(content: Mapping[str, str], sets: Iterable[str]) -> dict[str, str]:
    return {**content, "--set": "".join(f"{one}\n" for one in sets)}


_NO_FILES = ("params", "planrun", "--set")


def _display_path(name: str, plan: Plan) -> str:
    """Return a file's path as it would be typed, starting from how the plan is named."""
    if name in _NO_FILES or name.startswith("planrun:"):
        return name
    return os.path.normpath(Path(plan.file).parent / os.path.relpath(plan.root / name, plan.folder))


def _changes(name: str, then: str | None, now: str | None) -> Iterator[str]:
    """Yield a heading for a changed text, and its changed lines."""
    if then == now:
        return
    if then is None or now is None:
        yield f"  {printable(name)}: {'is part of the plan now' if then is None else 'is no longer part of the plan'}"
        return
    before, after = then.splitlines(), now.splitlines()
    for tag, first, past, at, end in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag != "equal":
            line = "" if name in _NO_FILES else f":{at + 1}"
            yield f"  {printable(name)}{line}"
            yield from (f"    - {printable(one)}" for one in before[first:past])
            yield from (f"    + {printable(one)}" for one in after[at:end])


# ------------------------------------------------------------------ what was found


def describe(run: RunRecord, known: Collection[str] = ()) -> Resuming:
    """Return what is known of the previous attempt, after `settle` has looked up its lost COMMITs.

    known: the paths of the current plan, if only these matter.
    """
    recorded, every = run.recorded_outcomes(), run.every()
    groups = {path[:at] for path in every for at, sign in enumerate(path) if sign in ".["}
    leaves = {path: planned for path, planned in every.items() if path not in groups and _is_known(path, known)}
    found = Resuming(
        run=run.id,
        state=run.state,
        last=run.last,
        who=f"pid {run.pid} on {run.host}",
        done=tuple(path for path in leaves if path in recorded and path not in run.gone),
        begun={
            path: _step_state(run, path, planned) for path, planned in leaves.items() if _is_begun(run, path, planned)
        },
    )
    return _with_hooks(found, run) if run.is_cut_off_in_hooks else found


def _with_hooks(found: Resuming, run: RunRecord) -> Resuming:
    """Add what the hooks had done in which the run was killed; a resume finishes them before anything else."""
    assert run.hooks is not None
    done = [path for path, one in run.hooks.outcomes.items() if one["state"] in (State.OK, State.WARNED)]
    begun = {path: _step_state(run.hooks, path, run.hooks.planned_steps[path]) for path in run.hooks.paths_at_work()}
    left = f"the steps had ended ({run.verdict['state']}); the hooks that are left run first"
    return replace(found, done=(*found.done, *done), begun={**found.begun, "hooks": left, **begun})


def _is_known(path: str, known: Collection[str]) -> bool:
    return not known or re.sub(r"\[\d+\]", "", path) in known


def _is_begun(run: RunRecord, path: str, planned: Record) -> bool:
    outcome = run.outcomes.get(path)
    return bool(planned.get("actions")) and (outcome is None or outcome["state"] == State.FAILED)


_CUT = {
    "backup": "the session that it was writing is incomplete and does not count; a new one is made",
    "command": "its program may have done its work; it runs again",
    "load": "the shadow tables it was loading are removed and loaded again",
    "restore": "what it had restored is replaced when it runs again",
    "write": "the file is unchanged or complete; it is written again",
}
"""What a resume does with a step that was cut off, by the class of its first unfinished action."""


def _step_state(run: RunRecord, path: str, planned: Record) -> str:
    """Return how a step ended, or that it was cut off, and what is left of it."""
    outcome = run.outcomes.get(path)
    ended = "begun by an earlier attempt" if path in run.earlier else "cut off at work"
    ended = f"failed ({one_line(str(outcome.get('message', '')))})" if outcome else ended
    if path in run.gone:
        return f"{ended}; the run cannot continue without it"
    every = list(_flat(planned.get("actions", [])))
    actions = [action for action in every if action["action"] not in READING]
    # only of actions that act; at least this many
    done = sum(at == path for at, _ in run.actions) - (len(every) - len(actions))
    if run.settled.get(path) == "committed" and done >= len(actions):
        return f"{ended}; its COMMIT succeeded, so it is done"
    if 0 < done < len(actions):
        return f"{ended}; {done} of {plural(len(actions), 'action')} done, the others are done again"
    return f"{ended}; {_what_is_there(actions)}"


def _what_is_there(actions: list[Record]) -> str:
    for action in actions:
        if action["action"] == "sql" and action.get("transaction") is False:
            return "its statements may be partly done; they run again"
        if said := _CUT.get(action["action"]):
            return said
    return "nothing of it was committed; it is done again"


def _flat(actions: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    for action in actions:
        yield from [action] if action["action"] != "together" else []
        for branch in action.get("branches", []):
            yield from _flat(branch)


def run_to_resume(run: RunRecord | None, plan: Plan) -> RunRecord:
    """Return the run that a resume continues. Raises UsageError without one, PlanrunError if it cannot continue."""
    if run is not None and run.mode != "apply":  # it may have undone the work of the run before it
        hint = plan.again(run.mode, run.options)
        raise UsageError(
            f"the unfinished run {run.id} is {'an' if run.mode[0] in 'a' else 'a'} {run.mode}", hint=hint, code="PR0502"
        )
    if run is None:
        raise UsageError(
            "there is no unfinished run to resume", hint=f"{plan.command('status')} shows the last one", code="PR0502"
        )
    if lost := run.not_kept():
        raise PlanrunError(
            f"the outputs of {', '.join(lost)} contained a secret, which the journal does not keep; later steps need "
            f"them, so run {run.id} cannot be resumed",
            hint=f"start again: {plan.command('apply')}",
            code="PR0505",
        )
    return run


def settle(run: RunRecord, connections: Connections) -> None:
    """Find out which actions were committed without a journal row, and count them as done.

    Puts the result in `run.settled`, by path. Raises UnknownStateError if the server does not know.
    """
    for (path, key), record in run.committing.items():
        if (path, key) in run.actions:
            continue
        status = commits.status(connections, record["connection"], record["xid"])
        run.settled[path] = status
        if status == "committed":
            run.actions[path, key] = record["result"]
        elif status != "aborted":
            raise UnknownStateError(
                f"it is unknown whether transaction {record['xid']} was committed: the server says {status}",
                where=path,
                hint=f"check whether the step's work is in the database, then start again: planrun apply {PLAN}",
                code="PR0410",
            )
