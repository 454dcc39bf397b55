"""Summarize a diff by what becomes of each object, for the first screen of a reviewer. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.fates import Fate, ObjectFate, object_json
from runner.record import dataclass
from runner.result import RunResult, StepResult
from runner.words import one_line, plural, printable, size

WIDTH = 80
"""Columns of a line; a summary has the same width on every terminal, so that all reviewers see the same."""

SHOWN = 12
"""How many objects of a group get their own line without --verbose, and the maximum number of lines of a list of
names."""

_SIGNS = {
    Fate.LOST: "-", Fate.DROPPED: "-", Fate.REPLACED: "~", Fate.CHANGED: "~", Fate.ADDED: "+", Fate.KEPT: "=",
    Fate.REBUILT: "~", Fate.REFILLED: "~", Fate.REPOINTED: "~", Fate.CARRIED: "=", Fate.SAVED: "+", Fate.LEFT: "=",
}  # fmt: skip

_TO_DO = {
    Fate.REPLACED: "to replace", Fate.ADDED: "to add", Fate.KEPT: "to keep", Fate.CHANGED: "to change",
    Fate.SAVED: "to save", Fate.DROPPED: "to drop", Fate.LOST: "lost",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Group:
    """Objects of one kind and fate in the step with this path. when: the guard of the step, "" for none."""

    fate: Fate
    kind: str
    objects: tuple[ObjectFate, ...]
    when: str = ""
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary of a diff. later: the objects change only when a later step swaps in what this diff builds."""

    groups: tuple[Group, ...]
    later: bool
    locks: tuple[str, ...]
    holders: tuple[str, ...]

    @property
    def replaces(self) -> bool:
        """Whether live tables are replaced, so that a rollback is possible."""
        return any(group.fate in (Fate.REPLACED, Fate.KEPT) for group in self.groups)

    @property
    def counts(self) -> Mapping[Fate, int]:
        """How many objects have each fate; of replaced, added and kept objects only tables count, because the others
        follow them."""
        found: Counter[Fate] = Counter()
        for group in self.groups:
            if group.fate in (Fate.LOST, Fate.DROPPED) or group.kind == "table":
                found[group.fate] += len(group.objects)
        return found


def sign(one: ObjectFate) -> str:
    """Return `-` for a removed object, `+` for a new one, `~` for a changed one, `=` for an unchanged one."""
    return _SIGNS[one.fate]


def summarize(result: RunResult) -> Summary:
    """Return the summary of a diff; it has no groups if no step works on a known object."""
    previews = [(step, step.planned.preview) for step in result.steps if step.planned.preview]
    told = [(step, preview.objects) for step, preview in previews if preview.objects]
    coming = [(step, preview.coming) for step, preview in previews if preview.coming]
    swapped = {one.what for _, objects in told for one in objects}
    later = [(step, objects) for step, objects in coming if not swapped & {one.what for one in objects}]
    groups = [group for step, objects in (*told, *later) for group in _groups(objects, step)]
    locking = [preview for _, preview in previews if preview.locks]
    return Summary(
        groups=tuple(sorted(groups, key=lambda one: list(Fate).index(one.fate))),
        later=bool(later) and not told,
        locks=_unique(name for one in locking for name in one.locks),
        holders=_unique(line for one in locking for line in one.holders),
    )


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _groups(objects: Sequence[ObjectFate], step: StepResult) -> Iterator[Group]:
    guard = step.planned.step.when
    keys = dict.fromkeys((one.fate, one.kind) for one in objects)
    for fate, kind in keys:
        some = tuple(one for one in objects if (one.fate, one.kind) == (fate, kind))
        yield Group(fate=fate, kind=kind, objects=some, when=guard.text if guard else "", path=step.path)


# ------------------------------------------------------------------ text


def lines(summary: Summary, *, way_back: str = "", verbose: bool = False) -> Iterator[str]:
    """Yield the first screen: each group with its objects, the locks, the rollback command, and the counts."""
    schema = _common_schema(summary)
    if summary.later:
        yield "Once a swap puts in what is built:"
    for group in summary.groups:
        yield from _group_lines(group, schema, verbose=verbose)
    if summary.locks:
        yield from _lock_lines(summary)
    if way_back and summary.replaces:
        yield f"  the way back afterwards: {way_back}"
    if summary.groups:
        yield counts_line(summary)


def counts_line(summary: Summary) -> str:
    """Return "Plan: 4 to replace, 1 to add, 2 to keep, 0 to drop, 0 lost." """
    counts = summary.counts
    always = (Fate.DROPPED, Fate.LOST)
    words = [f"{counts.get(fate, 0):,} {word}" for fate, word in _TO_DO.items() if counts.get(fate) or fate in always]
    return f"Plan: {', '.join(words)}."


def _common_schema(summary: Summary) -> str:
    """Return "public." if all tables are in one schema, so that it need not precede each name."""
    names = [one.name for group in summary.groups if group.kind == "table" for one in group.objects]
    schemas = {name.rpartition(".")[0] for name in names if '"' not in name}
    return f"{schemas.pop()}." if len(schemas) == 1 and not any('"' in name for name in names) else ""


def group_heads(summary: Summary) -> Iterator[str]:
    """Yield a line for each group: "4 tables of public replaced"."""
    schema = _common_schema(summary)
    yield from (_head(group, schema) for group in summary.groups)


def _head(group: Group, schema: str) -> str:
    count = plural(len(group.objects), group.kind, _many(group.kind))
    where = f" of {schema.removesuffix('.')}" if schema and group.kind == "table" else ""
    when = f", when {group.when}" if group.when and group.fate in (Fate.DROPPED, Fate.CHANGED) else ""
    return f"{count}{where} {_verb(group.fate, len(group.objects))}{when}"


def by_importance(group: Group) -> list[ObjectFate]:
    """Return the objects of a group, the gravest first."""
    loud, quiet = _loud_and_quiet(group)
    return [*loud, *quiet]


def _group_lines(group: Group, schema: str, *, verbose: bool) -> Iterator[str]:
    mark = _SIGNS[group.fate]
    head = f"{mark} {_head(group, schema)}"
    loud, quiet = _loud_and_quiet(group)
    shown = loud if verbose else loud[:SHOWN]
    if not loud:
        yield from _wrap(f"{head}: ", [_brief(one, schema) for one in quiet], verbose=verbose)
        return
    yield head
    for one in shown:
        yield from _object_lines(one, schema, "    - " if mark == "-" else "      ")
    if len(shown) < len(loud):
        yield f"      and {len(loud) - len(shown):,} more with other columns or fewer rows (-v shows each)"
    if quiet:
        yield from _wrap("      the same columns: ", [_brief(one, schema) for one in quiet], verbose=verbose)


def _many(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") and kind[-2:] != "ey" else f"{kind}s"


def _verb(fate: Fate, count: int) -> str:
    return "keep their rows" if fate is Fate.KEPT and count > 1 else str(fate)


def _loud_and_quiet(group: Group) -> tuple[list[ObjectFate], list[ObjectFate]]:
    """Return the objects that get a line each, the gravest first, and those for the list of names, the largest
    first."""
    if group.fate in (Fate.LOST, Fate.DROPPED):
        return list(group.objects), []
    loud = [one for one in group.objects if _weight(one)]
    quiet = [one for one in group.objects if not _weight(one)]
    loud.sort(key=lambda one: (-_weight(one), -(one.bytes or 0), one.name))
    quiet.sort(key=lambda one: (-(one.bytes or 0), one.name))
    return loud, quiet


def _weight(one: ObjectFate) -> int:
    """Return how important an object is for a reviewer: lost columns, lost rows, new columns, a remark."""
    note = bool(remark(one))
    gone = _by_column(one.loses).keys() - _by_column(one.gains).keys()
    return 8 * bool(gone) + 4 * bool(_shrinks(one)) + 2 * bool(one.gains or one.loses) + note


def remark(one: ObjectFate) -> str:
    """Return the note, unless it is the usual one, which says where the old table stays."""
    return "" if one.kind == "table" and one.fate in (Fate.REPLACED, Fate.KEPT) else one.note


def _shrinks(one: ObjectFate) -> bool:
    """Return whether a table loses more than half of its rows."""
    return one.rows is not None and one.rows_after is not None and one.rows_after * 2 < one.rows


def _object_lines(one: ObjectFate, schema: str, head: str) -> Iterator[str]:
    """Yield the name with what becomes of it; text beyond WIDTH continues, indented, on the next line."""
    line = head + _short_name(one, schema)
    for part in (rows_text(one), *column_words(one), remark(one)):
        if part and len(line) + len(part) + 2 > WIDTH:
            yield printable(line)
            line = f"          {part}"
        elif part:
            line += f"  {part}"
    yield printable(line)


def column_words(one: ObjectFate) -> Iterator[str]:
    """Yield what becomes of a table's columns: lost ones, those with another type, new ones."""
    old, new = _by_column(one.loses), _by_column(one.gains)
    if gone := [f"{name} {old[name]}" for name in old if name not in new]:
        yield f"! - {', '.join(gone)}"
    if other := [f"{name} {old[name]} -> {new[name]}" for name in old if name in new]:
        yield f"~ {', '.join(other)}"
    if more := [f"{name} {new[name]}" for name in new if name not in old]:
        yield f"+ {', '.join(more)}"


_COLUMN = re.compile(r'("(?:[^"]|"")*"|[^ ]+) (.*)', re.DOTALL)


def _by_column(definitions: Iterable[str]) -> dict[str, str]:
    """Split "id integer not null" into the name and the rest."""
    found = (_COLUMN.fullmatch(each) for each in definitions)
    return {match[1]: match[2] for match in found if match}


def _short_name(one: ObjectFate, schema: str) -> str:
    return one.name.removeprefix(schema) if one.kind == "table" and schema else one.name


def rows_text(one: ObjectFate) -> str:
    """Return how many rows an object has, and how many afterwards: "1,000 -> 1,500 rows"."""
    about = "" if one.exact else "about "
    if one.rows is not None and one.rows_after is not None and one.rows != one.rows_after:
        gone = "! " * _shrinks(one)
        return f"{gone}{about}{one.rows:,} -> {one.rows_after:,} rows"
    rows = one.rows_after if one.rows is None else one.rows
    if rows is None:
        return size(one.bytes) if one.bytes and one.fate is Fate.DROPPED else ""
    words = f"{about}{plural(rows, 'row')}"
    return f"{words}, {size(one.bytes)}" if one.bytes and one.fate in (Fate.DROPPED, Fate.SAVED) else words


def _brief(one: ObjectFate, schema: str) -> str:
    name = _short_name(one, schema)
    if one.rows is not None and one.rows_after is not None and one.rows != one.rows_after:
        return f"{name} {one.rows:,} -> {one.rows_after:,}"
    rows = one.rows_after if one.rows is None else one.rows
    return name if rows is None else f"{name} {rows:,}"


def _wrap(head: str, words: Sequence[str], *, verbose: bool) -> Iterator[str]:
    """Yield a list of names in lines of WIDTH; if it needs more than SHOWN lines, the first ones and a count."""
    indent = " " * min(len(head) - len(head.lstrip()) + 4, 10)
    lines = _fill(head, indent, words)
    if verbose or len(lines) <= SHOWN:
        yield from (line for line, _ in lines)
        return
    yield from (line for line, _ in lines[:_FIRST])
    yield f"{indent}and {len(words) - lines[_FIRST - 1][1]:,} more (-v names each)"


_FIRST = 4
"""How many lines are shown of a list of names that is too long."""


def _fill(head: str, indent: str, words: Sequence[str]) -> list[tuple[str, int]]:
    """Return the lines, each with the number of words up to its end."""
    lines, line = list[tuple[str, int]](), head
    for number, word in enumerate(words):
        part = one_line(word) + ("," if number + 1 < len(words) else "")
        if len(line) + len(part) > WIDTH and line.strip():
            lines.append((line.rstrip(), number))
            line = indent
        line += f"{part} "
    return [*lines, (line.rstrip(), len(words))]


def _lock_lines(summary: Summary) -> Iterator[str]:
    yield f"  locks: ACCESS EXCLUSIVE on {plural(len(summary.locks), 'table')}, in one short transaction"
    shown = summary.holders[:SHOWN]
    for line in shown:
        yield f"    ! held now by {one_line(line)}"
    if len(shown) < len(summary.holders):
        yield f"    ! and by {len(summary.holders) - len(shown):,} more connections"


# ------------------------------------------------------------------ JSON


def as_json(summary: Summary) -> dict[str, Any]:
    """Return the summary as JSON data: counts by fate, and every object."""
    return {
        "counts": {fate.value: count for fate, count in summary.counts.items()},
        "later": summary.later,
        "objects": [object_json(one) for group in summary.groups for one in group.objects],
        "locks": list(summary.locks),
        "holders": list(summary.holders),
    }
