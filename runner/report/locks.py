"""Format what a step would lock: a line for each statement, strong locks and rewrites to be seen at once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from runner.impact import MODES, LockedRelation, StatementImpact, StepImpact, by_mode
from runner.result import StepResult
from runner.words import one_line, plural, seconds, size

SHORT = 12
"""Statements of a step that have a line without --verbose."""

_NAMES = 4
"""Relations of one mode that are named in a line without --verbose."""

_FEW_BYTES = 1 << 20
"""A relation below this size is small: its size and rows are not worth a reviewer's time."""


def step_lines(step: StepResult, *, verbose: bool = False) -> Iterator[str]:
    """Yield the lines of a step: `!` where readers wait, a table is written anew or somebody is in the way."""
    impact = step.impact
    if impact is None:
        return
    lines = Counter(
        (f"{'!' if one.is_loud else '#'} {statement_line(one, verbose=verbose)}", one) for one in impact.statements
    )
    shown = list(lines.items()) if verbose else _loud_first(list(lines.items()))
    for (line, one), count in shown:
        yield one_line(f"{line} ({count:,} times)" if count > 1 else line)
        yield from (f"  ! held now by {one_line(holder)}" for holder in one.holders[: None if verbose else _NAMES])
        yield from (f"  # {one_line(note)}" for note in one.notes if verbose)
    if len(shown) < len(lines):
        yield f"# and {len(lines) - len(shown):,} more statements with weaker locks (-v shows each)"
    if took := time_text(impact):
        yield f"# {took}"


_Counted = tuple[tuple[str, StatementImpact], int]


def _loud_first(lines: Sequence[_Counted]) -> list[_Counted]:
    """Return the lines that are shown without --verbose, in their order; the loud ones before others."""
    if len(lines) <= SHORT:
        return list(lines)
    ranked = sorted(range(len(lines)), key=lambda number: (not lines[number][0][1].is_loud, number))
    return [lines[number] for number in sorted(ranked[:SHORT])]


def time_text(impact: StepImpact) -> str:
    """Return "took 15 ms the last time, with locks for 3 ms", or "" when it never ran or no more is known."""
    if impact.seconds is None:
        return ""
    took = seconds(max(impact.seconds, _SHORTEST))
    locked = f", with locks for {seconds(max(impact.locked, _SHORTEST))}" if impact.locked is not None else ""
    return f"took {took} the last time{locked}"


_SHORTEST = 0.001
"""Seconds below which no time is told."""


def statement_line(one: StatementImpact, *, verbose: bool = False) -> str:
    """Return `ACCESS EXCLUSIVE on public.orders (about 2,000,000 rows, 180 MB): ALTER TABLE ... ADD COLUMN`."""
    return f"{_modes_text(one, verbose)}: {one.what}{_effects(one)}"


def lock_text(one: StatementImpact) -> str:
    """Return what a statement locks and does, without its name."""
    return f"{_modes_text(one, False)}{_effects(one)}"


def _modes_text(one: StatementImpact, verbose: bool) -> str:
    parts = [_mode_text(mode, some, verbose) for mode, some in _shown_modes(one)]
    text = one.opaque and f"not known what it locks, as {one.opaque}"
    return "; ".join([*parts, *([text] if text else [])]) or "only what this SQL makes"


def _shown_modes(one: StatementImpact) -> list[tuple[str, list[LockedRelation]]]:
    """Return the modes with their relations, the strongest first, without those that hold up nobody beside another."""
    found = sorted(by_mode(one), key=lambda pair: -MODES.index(pair[0]))
    named = [(mode, some) for mode, some in found if any(each.named for each in some)]
    strong = [pair for pair in found if MODES.index(pair[0]) >= MODES.index("ROW EXCLUSIVE")]
    return strong or named[:1] or found[:1]


def _mode_text(mode: str, some: Sequence[LockedRelation], verbose: bool) -> str:
    some = sorted(some, key=lambda one: not one.named)
    shown = some if verbose else some[:_NAMES]
    names = ", ".join(f"{one.name}{_measure(one)}" for one in shown)
    more = f" and {plural(len(some) - len(shown), 'more', 'more')}" if len(shown) < len(some) else ""
    return f"{mode} on {names}{more}"


def _measure(one: LockedRelation) -> str:
    if not one.there:
        return " (there is none now)"
    if one.bytes is None or one.bytes < _FEW_BYTES:
        return ""
    rows = f"about {plural(one.rows, 'row')}, " if one.rows is not None else "never analyzed, "
    return f" ({rows}{size(one.bytes)})"


def _effects(one: StatementImpact) -> str:
    words = []
    if one.what.startswith("TRUNCATE"):
        words.append("empties it")
    elif one.rewrite != "no":
        words.append("writes it anew" if one.rewrite == "yes" else "perhaps writes it anew")
        words += [f"needs {size(one.disk)} of disk"] if one.disk and one.disk >= _FEW_BYTES else []
    elif one.scan != "no":
        words.append("reads all its rows" if one.scan == "yes" else "perhaps reads all its rows")
    elif one.disk and one.disk >= _FEW_BYTES:
        words.append(f"needs {size(one.disk)} of disk")
    if one.transaction == "no":
        words.append("not inside a transaction")
    return "".join(f", {word}" for word in words)


def warnings(impact: StepImpact) -> Iterator[str]:
    """Yield what nobody should overlook: a table that is no longer small is written anew, somebody is in the way."""
    for one in dict.fromkeys(impact.statements):
        if one.rewrite == "yes" and (one.disk or 0) >= _FEW_BYTES:
            yield statement_line(one)
        yield from (f"{one.what} waits for a lock that is held now by {holder}" for holder in one.holders)


def is_worth_a_row(one: StatementImpact) -> bool:
    """Whether a page for reviewers names a statement: it holds up writers or readers, or nobody knows."""
    weakest = MODES.index("SHARE UPDATE EXCLUSIVE")
    strong = any(each.certain and MODES.index(each.mode) >= weakest for each in one.locks)
    return strong or one.is_loud or bool(one.opaque) or one.transaction == "no"
