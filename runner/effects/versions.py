"""Compare two versions of a plan: two files, or a file with the same file as of a revision of git."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from runner.cancel import Cancel
from runner.comparison import Change, Comparison, What
from runner.effects import revision
from runner.effects.changes import changes
from runner.effects.collection import Objects, effects_of, objects_of
from runner.effects.record import PlanEffects
from runner.effects.revision import Revision
from runner.errors import Mark, PlanError, PlanrunError, Problem, with_code
from runner.model import Plan
from runner.planfile import open_plan
from runner.result import RunResult

Diff = Callable[[Plan], RunResult]
"""Makes the diff of a plan, against the databases or against a catalog file."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """One side of a comparison. plan: None where there is none, for the reason in `why`."""

    name: str
    plan: Plan | None
    why: str = ""


@contextmanager
def version_at(
    new: Plan, rev: str, *, sets: Sequence[str], env: Mapping[str, str], cancel: Cancel
) -> Iterator[Version]:
    """Yield a plan as of a revision; its relative paths lead to where those of the new one lead.

    Raises UsageError where there is no repository or no such revision. A plan that is not there, or cannot be read, is
    a Version without a plan.
    """
    with revision.files_of(Path(new.file), rev, env=env, cancel=cancel) as found:
        if not found.is_there:
            why = f"{found.label} has no {found.file}: this plan is new"
            yield Version(name=found.label, plan=None, why=why)
            return
        try:
            plan = open_version(found.plan, sets=sets, env=env, offline=True)
        except PlanError as exc:
            first = _in_revision(exc, found).problems[0]
            why = f"the plan of {found.label} cannot be read, so all of the new one counts as added: {first}"
            yield Version(name=found.label, plan=None, why=why.partition("\n")[0])
            return
        yield Version(name=found.label, plan=_as_here(plan, found))


def open_version(file: Path, *, sets: Sequence[str], env: Mapping[str, str], offline: bool) -> Plan:
    """Open the old version, without a `--set` of what only the new one has. Raises PlanError."""
    try:
        return open_plan(file, sets=sets, env=env, offline=offline)
    except PlanError as exc:
        unknown = {one.where.file.removeprefix("--set ") for one in exc.problems if one.where.file.startswith("--set ")}
        kept = [one for one in sets if one.partition("=")[0].strip() not in unknown]
        if len(kept) == len(sets):
            raise
        return open_plan(file, sets=kept, env=env, offline=offline)


def _as_here(plan: Plan, found: Revision) -> Plan:
    """Return the plan of a revision with relative paths that start in the work tree, so that they are comparable."""
    here = found.top / plan.folder.relative_to(found.folder)
    return replace(plan, folder=here, file=f"{found.name}:{found.file}")


def _in_revision(exc: PlanError, found: Revision) -> PlanError:
    """Return an error whose places name the revision, and not the folder that its files are in for a moment."""
    return PlanError(*(_problem_in_revision(one, found) for one in exc.problems))


def _problem_in_revision(one: Problem, found: Revision) -> Problem:
    prefix = f"{found.folder}{os.sep}"
    file = one.where.file.replace(prefix, f"{found.name}:")
    where = Mark(file, one.where.line, one.where.column)
    return replace(one, where=where, message=one.message.replace(prefix, ""), hint=one.hint.replace(prefix, ""))


def compare(old: Version, new: Plan, *, env: Mapping[str, str], diff: Diff | None = None, against: str) -> Comparison:
    """Compare what two versions do. diff: asks databases for both; None: only the files tell."""
    before = effects_of(old.plan, env) if old.plan else PlanEffects(name="")
    after = effects_of(new, env)
    notes, code, databases = [old.why] * bool(old.why), 0, tuple[str, ...]()
    if after.problems:
        code = PlanError.exit_code
    elif diff is not None:
        shown = diff(new)
        code, databases = shown.exit_code, shown.databases
        if shown.error:
            notes.append(f"the diff of {new.file} fails: {with_code(shown.error.code, shown.error.message)}")
        after = _with_objects(after, objects_of(shown.steps, of_rollback=False))
        said, why = _objects_before(old, diff)
        notes += [why] * bool(why)
        before = _with_objects(before, said)
    return Comparison(
        plan=new.name,
        file=new.file,
        old=old.name,
        new=new.file,
        against=against,
        changes=_of_objects_that_are_known(changes(before, after), notes),
        databases=databases,
        notes=tuple(notes),
        exit_code=code,
    )


def _with_objects(one: PlanEffects, objects: Objects) -> PlanEffects:
    steps = tuple(replace(step, objects=tuple(objects.get(step.key, ()))) for step in one.steps)
    return replace(one, steps=steps, asked=True)


def _objects_before(old: Version, diff: Diff) -> tuple[Objects, str]:
    """Return what becomes of objects by the old version, and why that is not known."""
    if old.plan is None:
        return {}, ""
    try:
        shown = diff(old.plan)
    except PlanrunError as exc:
        return {}, f"what becomes of objects by {old.name} is not known: {with_code(exc.code, exc.message)}"
    return objects_of(shown.steps, of_rollback=False), ""


def _of_objects_that_are_known(found: Sequence[Change], notes: Sequence[str]) -> tuple[Change, ...]:
    """Leave out comparisons of objects where one side could not say anything of them."""
    unknown = any(note.startswith("what becomes of objects by") for note in notes)
    return tuple(one for one in found if not (unknown and one.what in (What.OBJECT_WORSE, What.OBJECT_CHANGED)))
