"""Format a rehearsal: as text, as Markdown for a pull request, as JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner import catalog_difference
from runner.catalog_difference import Change
from runner.errors import PlanrunError, VerifyError, with_code
from runner.rehearsal_result import CopyFacts, Differences, HeldLock, RehearsalResult
from runner.report import actions, markdown
from runner.report.envelope import envelope, error_json
from runner.report.results import step_json
from runner.report.text import groups_first
from runner.result import RunResult, StepResult
from runner.words import json_text, one_line, plural, printable, safe, seconds

_FEW = 20
"""Lines of one section, and relations of one line, that are shown without --verbose."""
_CHANGED = VerifyError(
    "the rollback does not give back the start",
    hint="add to `rollback:` what is missing; planrun explain PR1003 says more",
    code="PR1003",
)
_SAID = {
    "ok": "rehearsed: every step went well",
    "failed": "a step failed in the rehearsal",
    "changed": "the rollback does not give back the start",
    "interrupted": "the rehearsal was interrupted",
}


def render(result: RehearsalResult, output: str, *, verbose: bool = False) -> str:
    """Return a rehearsal in a format; nothing for jsonl, whose last line the command prints itself."""
    match output:
        case "json":
            return json_text(as_json(result, verbose=verbose), indent=2) + "\n"
        case "markdown":
            return as_markdown(result)
        case "jsonl":
            return ""
    return as_text(result, verbose=verbose)


# ------------------------------------------------------------------ text


def as_text(result: RehearsalResult, *, verbose: bool = False) -> str:
    """Return the whole report; nothing in it was done to the plan's databases."""
    lines = [*(one_line(one.of) for one in result.copies), f"Plan {one_line(result.plan)}: {_SAID[result.state]}", ""]
    for title, body in _sections(result, verbose):
        lines += [title, *(f"  {line}" for line in body), ""]
    if result.state == "changed":
        lines += [f"error: {with_code(_CHANGED.code, _CHANGED.message)}", f"  hint: {_CHANGED.hint}"]
    lines += [f"The databases above were only read. Took {seconds(result.seconds)}."]
    if result.next:
        lines.append(f"next: {result.next}")
    return "\n".join(lines) + "\n"


def _sections(result: RehearsalResult, verbose: bool) -> Iterator[tuple[str, Sequence[str]]]:
    yield f"Scratch copies, with {result.wanted}", [line for one in result.copies for line in _copy(one, verbose)]
    yield "Steps", list(_steps(result.run, verbose))
    changed = any(result.applied.catalogs.values())
    none = [] if changed else ["nothing in the catalog"]
    yield "What the run changed", [*none, *_differences(result.applied, verbose)]
    yield "Locks that others would have waited for", list(_locks(result.locks, verbose)) or ["none"]
    if sent := list(_statements(result, verbose)):
        yield "What programs sent", sent
    yield "Rollback", list(_rollback(result, verbose))
    if apart := list(_apart(result)):
        yield "Kept apart", apart


def _copy(one: CopyFacts, verbose: bool) -> Iterator[str]:
    where = f"private PostgreSQL {one.version}" if one.private else f"database on the given PostgreSQL {one.version}"
    other = "" if one.same_major else ", another major version than the original"
    yield f"{', '.join(filter(None, one.connections)) or 'target'}: {where}{other}; {_rows(one)}"
    yield from (f"  left out: {one_line(line)}" for line in _cut(one.left_out, verbose))


def _rows(one: CopyFacts) -> str:
    return f"{plural(one.rows, 'row')} in {plural(one.tables, 'table')}" if one.rows else "structure without rows"


def _steps(run: RunResult, verbose: bool) -> Iterator[str]:
    for step in groups_first(run.steps):
        yield from _step(step, verbose)


def _step(step: StepResult, verbose: bool) -> Iterator[str]:
    took = f"  {seconds(step.seconds)}" if step.seconds >= 0.001 else ""
    yield f"{step.path}  {step.planned.step.uses}  [{step.state}]{took}"
    if step.message and (step.state != "ok" or not step.planned.actions):
        first, *more = safe(with_code(step.code, step.message)).splitlines() or [""]
        yield from (f"    {line}" for line in [f"! {first}" if step.state != "ok" else f"# {first}", *more])
    if step.hint and step.state in ("failed", "warned"):
        yield f"    hint: {one_line(step.hint)}"
    if verbose:
        for action in step.planned.actions:
            yield from (f"    {printable(line)}" for line in actions.lines(action, verbose=True))


def _differences(found: Differences, verbose: bool) -> list[str]:
    lines = []
    several = len(found.catalogs) > 1
    for name, changes in found.catalogs.items():
        head = [f"{name}:"] if several and changes else []
        lines += [*head, *_cut([safe(line) for line in catalog_difference.lines(changes, verbose=verbose)], verbose)]
    if found.rows:
        lines += [f"~ other rows in {name}" for name in _cut(found.rows, verbose)]
    return [*lines, *(f"planrun's own: {one_line(line)}" for line in found.own)]


def _locks(locks: Sequence[HeldLock], verbose: bool) -> Iterator[str]:
    """Yield for each step the strongest lock of each relation, those together that one statement took."""
    found: dict[tuple[str, str, str, str, bool], list[HeldLock]] = {}
    for one in strongest(locks):
        if verbose or one.strength >= _STOPS_WRITES:
            found.setdefault((one.path, one.mode, one.statement, one.connection, one.exact), []).append(one)
    for (path, mode, statement, _, exact), same in found.items():
        longest = max(one.milliseconds for one in same)
        limit = "at most" if exact else "at least"
        yield f"{path}  {mode_words(mode)} for {limit} {longest:.0f} ms: {same[0].stops} wait"
        if statement:
            yield f"    {printable(statement)}"
        yield f"    {_names(sorted(str(one.full_name) for one in same), verbose)}"


_STOPS_WRITES = 4
"""The strength of SHARE: from there on, writes wait."""


def strongest(locks: Iterable[HeldLock]) -> list[HeldLock]:
    """Return of each step and relation the strongest lock, in the order of the steps."""
    found: dict[tuple[str, str, object], HeldLock] = {}
    for one in locks:
        key = (one.path, one.connection, one.full_name)
        if key not in found or found[key].strength < one.strength:
            found[key] = one
    return list(found.values())


def mode_words(mode: str) -> str:
    """Return a mode as LOCK TABLE names it.

    >>> mode_words("ShareUpdateExclusiveLock")
    'SHARE UPDATE EXCLUSIVE'
    """
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in mode.removesuffix("Lock"))
    return words.strip().upper()


_READS = re.compile(r"\s*(?:select|show|set|begin|start|commit|end|rollback|discard|deallocate)\b", re.IGNORECASE)


def _statements(result: RehearsalResult, verbose: bool) -> Iterator[str]:
    """Yield the statements of programs, without those that read or only begin and end something."""
    told = [one for one in result.statements if verbose or not _READS.match(one.text)]
    lines = [f"{one.path}  {printable(' '.join(one.text.split()))}  ({one.milliseconds:.1f} ms)" for one in told]
    yield from _cut(lines, verbose)


def _names(names: Sequence[str], verbose: bool) -> str:
    if verbose or len(names) <= _FEW:
        return ", ".join(map(one_line, names))
    return f"{', '.join(map(one_line, names[:_FEW]))} and {len(names) - _FEW} more"


def _rollback(result: RehearsalResult, verbose: bool) -> Iterator[str]:
    if not result.has_rollback:
        yield "the plan has no `rollback:`"
        return
    if result.rollback is None or result.undone is None:
        yield "not tried, because the run did not come to its end"
        return
    yield from _steps(result.rollback, verbose)
    if result.rollback.exit_code:
        yield "it did not come to its end; other than at the start:"
    elif result.undone.none:
        rows = "the catalog and the rows are" if result.undone.rows is not None else "the catalog is"
        yield f"gives back the start exactly: {rows} as before"
    else:
        yield "does not give back the start; other than before:"
    yield from _differences(result.undone, verbose)
    if result.undone.rows is None:
        yield "rows were not compared: --rows sample or --rows all copies some"


def _apart(result: RehearsalResult) -> Iterator[str]:
    yield from (f"answered with yes: {one_line(question)}" for question in result.answers)
    yield from (f"written to a folder of the rehearsal instead: {one_line(path)}" for path in result.moved)
    yield from (f"not kept apart: {one_line(line)}" for line in result.outside)


def _cut(lines: Sequence[str], verbose: bool) -> list[str]:
    if verbose or len(lines) <= _FEW:
        return list(lines)
    return [*lines[:_FEW], f"... and {len(lines) - _FEW} more (--verbose shows all)"]


# ------------------------------------------------------------------ Markdown and JSON


def as_markdown(result: RehearsalResult) -> str:
    """Return the report for a comment in a pull request, cut to what GitHub takes; the SQL is folded away."""
    head = f"{markdown.marker(result.plan)}\n### planrun rehearsal: {markdown.cell(result.plan)}\n\n"
    head += "".join(f"{markdown.cell(one.of)}  \n" for one in result.copies) + "\n"
    head += f"**{result.state}**: {_SAID[result.state]}\n\n"
    for title, body in _sections(result, verbose=False):
        text = "\n".join(body)
        fence = "`" * max(3, markdown.longest_run(text) + 1)
        head += f"**{title}**\n\n{fence}diff\n{text}\n{fence}\n\n"
    head = head[: markdown.LIMIT]
    return head + markdown.sql_sections(result.run.steps, markdown.LIMIT - len(head))


def as_json(result: RehearsalResult, *, verbose: bool = False) -> dict[str, Any]:
    """Return a rehearsal as JSON data. verbose: with the whole actions of each step."""
    databases = [one.of for one in result.copies]
    error: PlanrunError | None = (result.rollback.error if result.rollback else None) or result.run.error
    error = error or (_CHANGED if result.state == "changed" else None)
    return {
        **envelope(state=result.state, plan=result.plan, run=result.run.run, databases=databases),
        "exit_code": result.exit_code, "seconds": round(result.seconds, 3), "next": result.next,
        "error": error_json(error) if error else None,
        "rehearsal": {
            "rows": result.wanted,
            "copies": [_copy_json(one) for one in result.copies],
            "applied": _differences_json(result.applied),
            "undone": _differences_json(result.undone) if result.undone else None,
            "gives_back_the_start": None if result.undone is None else result.undone.none,
            "locks": [one.to_json() for one in result.locks],
            "statements": [
                {"step": one.path, "text": one.text, "milliseconds": round(one.milliseconds, 3)}
                for one in result.statements
            ],
            "answers": list(result.answers), "moved": list(result.moved), "outside": list(result.outside),
        },
        "steps": [step_json(step, verbose=verbose) for step in result.run.steps],
        "rollback_steps": [
            step_json(step, verbose=verbose) for step in (result.rollback.steps if result.rollback else ())
        ],
    }  # fmt: skip


def _copy_json(one: CopyFacts) -> dict[str, Any]:
    return {
        "connections": list(one.connections), "of": one.of, "version": one.version, "private": one.private,
        "same_major": one.same_major, "rows": one.rows, "tables": one.tables, "left_out": list(one.left_out),
    }  # fmt: skip


def _differences_json(found: Differences) -> dict[str, Any]:
    catalogs: Mapping[str, Sequence[Change]] = found.catalogs
    return {
        "catalogs": {name: [change.to_json() for change in changes] for name, changes in catalogs.items()},
        "rows": None if found.rows is None else list(found.rows),
        "own": list(found.own),
    }
