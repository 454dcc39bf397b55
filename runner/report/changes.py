"""Format a comparison of two versions of a plan: as text, as Markdown for a pull request, as JSON. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from runner.comparison import GRAVE, Change, Comparison, What
from runner.report.envelope import envelope
from runner.report.markdown import cell, marker, rows_within
from runner.words import one_line

LIMIT = 50_000
"""Characters of a page: beside the diff of the plan it must fit into one comment."""

_SHORT = 400
"""Characters of one side of a change that a page shows; the text of a terminal has all of it."""


def text(found: Comparison) -> str:
    """Return the whole comparison, the most dangerous changes first."""
    lines = [*map(one_line, found.databases), f"Plan {one_line(found.plan)}: {one_line(_title(found))}"]
    lines += [f"  # {one_line(note)}" for note in (*found.notes, found.against)]
    lines += ["", *(line for one in found.changes for line in _lines(one))]
    lines += [""] * bool(found.changes)
    return "\n".join([*lines, summary(found)]) + "\n"


def _title(found: Comparison) -> str:
    return f"what {found.new} changes against {found.old}"


def summary(found: Comparison) -> str:
    """Return "1 destructive action added, 2 steps changed." """
    counts = Counter(one.what for one in found.changes)
    words = [_count_text(what.value, counts[what]) for what in What if counts[what]]
    return f"{'; '.join(words)}." if words else "Nothing that it does is different."


def _count_text(what: str, count: int) -> str:
    """Return "1 step added", "2 steps added"."""
    many = _NOUN.sub(r"\1s", what, count=1) if count != 1 else what
    return f"{count:,} {'problem' if count == 1 else 'problems'}" if what == "invalid" else f"{count:,} {many}"


_NOUN = re.compile(r"\b(action|protection|table|object|lock|guard|connection|statement|step|setting|file)\b")


def sign(one: Change) -> str:
    """Return `!` for what a reviewer must look at, `+` for what comes, `-` for what goes, `~` for what changes."""
    if one.what in GRAVE:
        return "!"
    last = one.what.value.rpartition(" ")[2]
    return {"added": "+", "removed": "-"}.get(last, "~")


def _lines(one: Change) -> Iterator[str]:
    yield f"{sign(one)} {one.what}: {one_line(one.text)}"
    before, after = _sides(one)
    yield from (f"    - {one_line(before)}",) if before else ()
    yield from (f"    + {one_line(after)}",) if after else ()


def _sides(one: Change) -> tuple[str, str]:
    """Return both sides as they are shown: of a setting, one that is not there is named."""
    if one.what in _OF_SETTINGS:
        return one.before or "(not set)", one.after or "(not set)"
    return one.before, one.after


_OF_SETTINGS = (What.GUARD_CHANGED, What.CONNECTION_CHANGED, What.BACKUP_CHANGED, What.SETTING_CHANGED)


def markdown(found: Comparison) -> str:
    """Return the page of a comparison; what a reviewer must look at is in bold, and comes first."""
    head = f"{marker(found.plan)}\n### planrun changes: {cell(found.plan)}\n\n{cell(_title(found))}  \n"
    head += "".join(f"{cell(line)}  \n" for line in (*found.databases, *found.notes, found.against))
    head += f"\n**{cell(summary(found))}**\n\n"
    if not found.changes:
        return head
    rows, left = rows_within(map(_row, found.changes), LIMIT)
    more = f"\nand {left:,} more: see `planrun compare`\n" if left else ""
    return f"{head}| | change | before | after |\n| --- | --- | --- | --- |\n{rows}{more}\n"


def _row(one: Change) -> str:
    what = f"**{cell(one.what.value)}**" if sign(one) == "!" else cell(one.what.value)
    mark = {"!": ":warning:", "-": "**-**"}.get(sign(one), sign(one))
    before, after = (cell(_cut(side)) for side in _sides(one))
    return f"| {mark} | {what}: {cell(one.text)} | {before} | {after} |"


def _cut(value: str) -> str:
    return value if len(value) <= _SHORT else f"{value[:_SHORT]} ..."


def as_json(found: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON data."""
    state = "ok" if not found.exit_code else "failed"
    return {
        **envelope(state=state, plan=found.plan, databases=found.databases),
        "exit_code": found.exit_code,
        "old": found.old,
        "new": found.new,
        "against": found.against,
        "differs": found.differs,
        "notes": list(found.notes),
        "changes": [
            {
                "what": one.what.value,
                "grave": sign(one) == "!",
                "step": one.step or None,
                "rollback": one.of_rollback,
                "text": one.text,
                "before": one.before,
                "after": one.after,
            }
            for one in found.changes
        ],
    }
