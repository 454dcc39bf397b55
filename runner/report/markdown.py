"""Format a diff or a result as Markdown: for a comment in a pull request or the summary page of a CI job.

The page never has more than LIMIT characters. If needed, the least important parts are left out: first SQL, then
objects that lose nothing, then steps; the summary is always complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from runner.errors import PlanError, PlanrunError, with_code
from runner.fates import ObjectFate
from runner.impact import StatementImpact
from runner.report import actions, locks
from runner.report import summary as summary_of
from runner.report.summary import Summary
from runner.report.text import before_run, counts_text, groups_first, outputs_text, protection_lines
from runner.result import RunResult, StepResult
from runner.words import one_line, plural, printable, seconds, typeable

LIMIT = 60_000
"""GitHub refuses a comment of more than 65,536 characters."""

_DATABASES = 6_000
_GROUPS = 5_000
_OBJECTS = 20_000
_STEPS = 10_000
_LOCKS = 8_000
"""Characters for the lines of connections and of groups, and for the tables of objects, of steps and of locks; the rest
is for the error, who holds locks, and the SQL."""

_CELL = 500
"""Characters of one cell: a message of a failed step may be as long as a log."""


def result(found: RunResult, *, after: bool = False) -> str:
    """Return the page: the databases, the summary, a table of objects, a table of steps, and the SQL folded away."""
    summary = None if after else summary_of.summarize(found)
    head = "".join(_head(found, summary))
    objects = _object_table(summary) + _lock_table(found) if summary else ""
    steps = _table(_STEP_HEAD, map(_step_row, groups_first(found.steps)), _STEPS, "step")
    after_run = _table(_STEP_HEAD, map(_step_row, map(before_run, groups_first(found.hooks))), _HOOKS, "hook")
    told = "".join(f"told of the run: {cell(line)}  \n" for line in found.told[:_NOTES]) + "\n" * bool(found.told)
    hooks = (f"**After the run**\n\n{after_run}" if found.hooks else "") + told
    page = f"{head}{objects}{steps}{hooks}{_foot(found)}"
    return page + sql_sections((*found.steps, *found.hooks), LIMIT - len(page))


def of_error(exc: PlanrunError, plan: str = "") -> str:
    """Return the page of a command that failed before it had a result. plan: its name, if it could be read."""
    head = f"{marker(plan)}\n### planrun: {cell(plan)}\n\n" if plan else "### planrun\n\n"
    if not isinstance(exc, PlanError):
        hint = f"\n\n{cell(typeable(exc.hint))}" if exc.hint else ""
        return f"{head}**failed**: {cell(f'{exc.where}: {exc.message}' if exc.where else exc.message)}{hint}\n"
    rows = (f"| {cell(str(one.where))} | {cell(one.message)} |" for one in exc.problems)
    return f"{head}**invalid**: {plural(len(exc.problems), 'problem')}\n\n" + _table(
        "| where | problem |\n| --- | --- |\n", rows, _OBJECTS, "problem", "planrun validate"
    )


def marker(plan: str) -> str:
    """Return the hidden first line by which a bot finds the comment that it wrote before."""
    safe = "".join(character if character.isalnum() or character in "_.-" else "_" for character in plan)
    return f"<!-- planrun:{safe[:100]} -->"


# ------------------------------------------------------------------ the summary


def _head(found: RunResult, summary: Summary | None) -> Iterator[str]:
    yield f"{marker(found.plan)}\n"
    what = "result" if summary is None else "diff" if found.of == "apply" else f"{found.of} diff"
    yield f"### planrun {what}: {cell(found.plan)}\n\n"
    shown, left = rows_within((f"{cell(line)}  " for line in found.databases), _DATABASES)
    yield shown + (f"and {left:,} more\n" if left else "") + "\n" * bool(found.databases)
    yield "".join(f"{cell(note)}  \n" for note in found.notes[:_NOTES]) + "\n" * bool(found.notes)
    yield f"**{found.state}**: {counts_text(found.counts)}\n\n"
    if found.error:
        yield f"**Error**: {cell(with_code(found.error.code, found.error.message))}\n\n"
    for warning in found.warnings[:_NOTES]:
        yield f":warning: {cell(warning.about)}: {cell(with_code(warning.code, warning.message))}\n\n"
    if summary:
        yield from _summary(summary, found.way_back)


def _summary(summary: Summary, way_back: str) -> Iterator[str]:
    if not summary.groups:
        return
    yield f"**{cell(summary_of.counts_line(summary))}**\n\n"
    if summary.later:
        yield "planrun builds this beside the live tables. The following happens when a swap puts it in.\n\n"
    shown, left = rows_within((f"- {cell(line)}" for line in summary_of.group_heads(summary)), _GROUPS)
    yield shown + (f"- and {left:,} more: see `planrun diff -v`\n" if left else "")
    if summary.locks:
        yield f"- locks: ACCESS EXCLUSIVE on {plural(len(summary.locks), 'table')}, in one short transaction\n"
    shown, left = rows_within((f"- :warning: held now by {cell(line)}" for line in summary.holders), _HOLDERS)
    yield shown + (f"- :warning: and by {left:,} more\n" if left else "")
    if way_back and summary.replaces:
        yield f"- the way back afterwards: {_code(way_back)}\n"
    yield "\n"


_NOTES = 8
_HOOKS = 4_000
"""Characters for the table of hooks."""

_HOLDERS = 3_000
"""Characters for who holds a conflicting lock."""

# ------------------------------------------------------------------ tables

_OBJECT_HEAD = "| | object | becomes | rows | remarks |\n| --- | --- | --- | ---: | --- |\n"
_STEP_HEAD = "| step | uses | state | |\n| --- | --- | --- | --- |\n"


def _object_table(summary: Summary) -> str:
    every = [one for group in summary.groups for one in summary_of.by_importance(group)]
    return _table(_OBJECT_HEAD, map(_object_row, every), _OBJECTS, "object") if every else ""


def _object_row(one: ObjectFate) -> str:
    words = [cell(each) for each in (*summary_of.column_words(one), summary_of.remark(one)) if each]
    bold = [f"**{each}**" if each.startswith("\\!") else each for each in words]
    sign = summary_of.sign(one).replace("-", "**-**")
    return f"| {sign} | {cell(one.what)} | {one.fate} | {cell(summary_of.rows_text(one))} | {'; '.join(bold)} |"


_LOCK_HEAD = "| | step | statement | locks |\n| --- | --- | --- | --- |\n"


def _lock_table(found: RunResult) -> str:
    """Return the statements whose locks hold up others, those that block readers first, and what is in the way."""
    every = [
        (step, one)
        for step in groups_first(found.steps)
        for one in dict.fromkeys(step.impact.statements if step.impact else ())
        if locks.is_worth_a_row(one)
    ]
    every.sort(key=lambda pair: not pair[1].is_loud)
    lines, left = rows_within((f"- :warning: {cell(line)}" for line in found.surroundings), _HOLDERS)
    head = lines + (f"- :warning: and {left:,} more\n" if left else "") + "\n" * bool(lines)
    return head + (_table(_LOCK_HEAD, (_lock_row(*pair) for pair in every), _LOCKS, "statement") if every else "")


def _lock_row(step: StepResult, one: StatementImpact) -> str:
    words = "; ".join([locks.lock_text(one), *(f"held now by {holder}" for holder in one.holders)])
    mark = ":warning:" if one.is_loud else ""
    return f"| {mark} | {cell(step.path)} | {cell(one.what)} | {cell(words)} |"


def _step_row(step: StepResult) -> str:
    return f"| {cell(step.path)} | {cell(step.planned.step.uses)} | {step.state} | {_about(step)} |"


def _table(head: str, rows: Iterable[str], budget: int, what: str, command: str = "planrun diff -v") -> str:
    """Return the rows that fit, the number of rows left out, and the command that shows all."""
    page, left = rows_within(rows, budget)
    return head + page + (f"\n{plural(left, 'more ' + what)}: see `{command}`\n" if left else "") + "\n"


def rows_within(rows: Iterable[str], budget: int) -> tuple[str, int]:
    """Return the first rows that fit into the budget of characters, and the number of the others."""
    page, left = "", 0
    for row in rows:
        if left or len(page) + len(row) > budget:
            left += 1
        else:
            page += f"{row}\n"
    return page, left


def _about(step: StepResult) -> str:
    protection = [line.removeprefix("# ") for line in protection_lines(step)]
    preview = step.planned.preview
    if preview is not None and step.state == "would run":
        return cell("; ".join([*preview.lines, *protection]))
    words = (with_code(step.code, step.message), outputs_text(step.outputs), _took(step))
    return cell("; ".join(filter(None, [", ".join(filter(None, words)), *protection])))


def _took(step: StepResult) -> str:
    """Return how long a step took; "" in a diff, where only planrun's queries ran."""
    return seconds(step.seconds) if step.seconds >= 0.001 and step.state in ("ok", "warned", "failed") else ""


def _foot(found: RunResult) -> str:
    return f"Next: {_code(found.next)}\n" if found.next else ""


# ------------------------------------------------------------------ SQL


def sql_sections(steps: Sequence[StepResult], budget: int) -> str:
    """Return the folded actions of as many steps as fit, and the steps that do not fit."""
    page, left = "", list[str]()
    for step in steps:
        folded = _details(step)
        if len(page) + len(folded) + _RESERVE > budget:
            left.append(step.path)
        else:
            page += folded
    if not left:
        return page
    names = cell(", ".join(left))
    return page + f"\nThe SQL of {names} is too long for one comment: `planrun diff -v` shows it.\n"


_RESERVE = 3 * _CELL
"""Characters that are reserved for the note on what does not fit."""


def _details(step: StepResult) -> str:
    lines = [line for action in step.planned.actions for line in actions.review(action)]
    if not lines:
        return ""
    body = "\n".join(printable(line) for line in lines)
    fence = "`" * max(3, longest_run(body) + 1)
    return f"\n<details><summary>{cell(step.path)}</summary>\n\n{fence}sql\n{body}\n{fence}\n</details>\n"


def longest_run(body: str) -> int:
    longest = run = 0
    for character in body:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


# ------------------------------------------------------------------ text that is only text


def cell(text: str) -> str:
    """Return text that cannot end a table cell, is not read as HTML or Markdown, and mentions no user of the code
    host."""
    plain = one_line(text)
    plain = plain if len(plain) <= _CELL else f"{plain[:_CELL]}..."
    for sign in "\\`*_|[]#~!":
        plain = plain.replace(sign, "\\" + sign)
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _CALLING.sub(r"\g<0><!-- -->", plain)


_CALLING = re.compile(r"[@#]|:(?=//)")
"""The beginning of a user's name, an issue number or a link. Code hosts look for these in the text as it is
shown, where a backslash or `&#64;` has no effect any more; an invisible comment separates them."""


def _code(text: str) -> str:
    """Return a command as code, even if it contains backticks."""
    plain = one_line(text)
    fence = "`" * (longest_run(plain) + 1)
    space = " " if "`" in plain else ""
    return f"{fence}{space}{plain}{space}{fence}"
