"""Format problems, or what a reviewer of a diff must see, as GitHub workflow commands. Pure.

Each becomes an annotation of a line in a pull request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import PlanrunError, with_code
from runner.fates import Fate, ObjectFate
from runner.model import Note, State
from runner.report import locks
from runner.report import summary as summary_of
from runner.report.findings import Finding, path_from
from runner.report.places import place_of
from runner.report.summary import Summary
from runner.result import RunResult, StepResult
from runner.words import safe, typeable

SHOWN = 10
"""GitHub shows no more annotations of one level of one step of a job."""

_LONGEST = 2000
"""Characters of a message: that of a failed step may be as long as a log."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """What a reviewer sees beside a line. level: error, warning or notice. file: "" for the whole run; line from 1."""

    level: str
    message: str
    file: str = ""
    line: int = 1
    column: int = 1
    title: str = "planrun"


def of_findings(every: Iterable[Finding]) -> str:
    """Return an annotation for each problem; the log also shows those that GitHub does not."""
    return text(
        Annotation(level=one.level, message=one.message, file=one.file, line=one.line, column=one.column)
        for one in every
    )


def of_error(exc: PlanrunError) -> str:
    """Return the annotation of a command that failed before it had a result."""
    return text([Annotation(level="error", message=str(exc))])


def of_result(result: RunResult, folder: Path) -> str:
    """Return what a reviewer of a diff must see: at most SHOWN of each level, the last of which counts the rest.

    Failures are errors; objects that are lost or dropped, and everything with a `!` in the diff, are warnings.
    folder: the working directory.
    """
    every = list(_annotations(result, folder))
    levels = [[one for one in every if one.level == level] for level in ("error", "warning", "notice")]
    return text(one for some in levels for one in _first(some))


def _first(some: Sequence[Annotation]) -> Iterator[Annotation]:
    if len(some) <= SHOWN:
        yield from some
        return
    yield from some[: SHOWN - 1]
    last, more = some[SHOWN - 1], len(some) - SHOWN
    yield replace(last, message=f"{last.message}\nand {more:,} more: see `planrun diff -v`")


def text(every: Iterable[Annotation]) -> str:
    """Return one workflow command a line."""
    return "".join(f"{_command(one)}\n" for one in every)


def _command(one: Annotation) -> str:
    where = f"file={_property(one.file)},line={one.line},col={one.column}," if one.file else ""
    return f"::{one.level} {where}title={_property(one.title)}::{_message(one.message)}"


def _message(value: str) -> str:
    value = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return safe(value).replace("%", "%25").replace("\n", "%0A")


def _property(value: str) -> str:
    return _message(value).replace(":", "%3A").replace(",", "%2C")


# ------------------------------------------------------------------ what a reviewer must see


def _annotations(result: RunResult, folder: Path) -> Iterator[Annotation]:
    def at(path: str, level: str, message: str) -> Annotation:
        where = place_of(result, path)
        file, title = path_from(where.file, folder), f"planrun diff of {result.plan}"
        return Annotation(level=level, message=message, file=file, line=where.line, column=where.column, title=title)

    failed = list(_failed_steps(result.steps))
    yield from (at(one.path, "error", _failure_text(one)) for one in failed)
    if result.error and not failed:
        yield at("", "error", str(result.error))
    yield from (at(path, "warning", words) for path, words in _warnings(result))
    summary = summary_of.summarize(result)
    if summary.groups:
        yield at(summary.groups[0].path, "notice", summary_of.counts_line(summary))


def _warnings(result: RunResult) -> Iterator[tuple[str, str]]:
    summary = summary_of.summarize(result)
    yield from _objects(summary)
    for step in result.steps:
        yield from ((step.path, words) for words in _remarks_of_step(step))
    yield from ((one.path, _failure_text(one)) for one in result.steps if one.state == State.WARNED)


def _failed_steps(steps: Sequence[StepResult]) -> Iterator[StepResult]:
    """Yield the steps that failed, without groups that failed only because of them."""
    failed = [one for one in steps if one.state == State.FAILED]
    for one in failed:
        if not any(other.path.startswith((f"{one.path}.", f"{one.path}[")) for other in failed):
            yield one


def _failure_text(step: StepResult) -> str:
    return f"{step.path}: {with_code(step.code, step.message)}" + (
        f"\nhint: {typeable(step.hint)}" if step.hint else ""
    )


def _objects(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield the objects that are lost or dropped, the gravest first, then those that lose columns or most of their
    rows."""
    for group in summary.groups:
        for one in summary_of.by_importance(group):
            if words := _loss(one):
                yield group.path, words


def _loss(one: ObjectFate) -> str:
    told = (summary_of.rows_text(one), *summary_of.column_words(one))
    if one.fate in (Fate.LOST, Fate.DROPPED):
        told = (*told, summary_of.remark(one))
        words = [_plain(each) for each in told if each]
    else:
        words = [_plain(each) for each in told if each.startswith("! ")]
        if not words:
            return ""
    return ": ".join([f"{one.what}, {one.fate}", *(["; ".join(words)] if words else [])])


def _plain(words: str) -> str:
    """Return a remark in the form of a sentence."""
    return words.replace("! - ", "columns that go: ", 1).removeprefix("! ")


def _remarks_of_step(step: StepResult) -> Iterator[str]:
    """Yield what the diff marks with a `!` below a step, and who holds a lock that the step needs."""
    preview, notes = step.planned.preview, [one for one in step.planned.actions if isinstance(one, Note)]
    lines = [*(preview.lines if preview else ()), *(line for one in notes for line in one.text.splitlines())]
    yield from (f"{step.path}: {_plain(line)}" for line in dict.fromkeys(lines) if line.startswith("! "))
    for line in preview.holders if preview and preview.locks else ():
        yield f"{step.path}: a lock that it needs is held now by {line}"
    if step.impact and not (preview and preview.locks):
        yield from (f"{step.path}: {words}" for words in locks.warnings(step.impact))
