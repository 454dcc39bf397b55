"""What differs between the effects of two versions of a plan, the most dangerous first. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from runner import fates
from runner.comparison import Change, What
from runner.effects.record import PlanEffects, StepEffects
from runner.fates import ObjectFate
from runner.words import plural, size


def changes(old: PlanEffects, new: PlanEffects) -> tuple[Change, ...]:
    """Return all differences, the most dangerous first, then in the order of the new version."""
    found = [
        *(Change(what=What.PROBLEM, text=one) for one in new.problems),
        *_step_changes(old, new),
        *_settings("", old.settings, new.settings),
    ]
    found += _of_files(old, new, found)
    order = list(What)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: order.index(one.what)))


# ------------------------------------------------------------------ which step is which


def _step_changes(old: PlanEffects, new: PlanEffects) -> Iterator[Change]:
    before, after = {one.key: one for one in old.steps}, {one.key: one for one in new.steps}
    gone = [one for key, one in before.items() if key not in after]
    come = [one for key, one in after.items() if key not in before]
    renames = dict(_renames(gone, come))
    moved = set(_moves(before, after))
    for key, one in after.items():
        then = before.get(key) or renames.get(key)
        if then is None:
            yield from _of_new_step(one)
            continue
        if key in renames:
            yield _change(What.STEP_MOVED, one, f"{then.label} is now {one.label}", then.path, one.path)
        elif key in moved:
            yield _change(What.STEP_MOVED, one, _place(one, new))
        yield from _differences(then, one)
    known = {one.key for one in renames.values()}
    for one in gone:
        if one.key not in known:
            yield from _of_old_step(one)


def _renames(
    gone: Sequence[StepEffects], come: Sequence[StepEffects]
) -> Iterator[tuple[tuple[bool, str], StepEffects]]:
    """Yield the key of a new step with the old one that it is under another name or in another group."""
    alike: dict[Hashable, list[StepEffects]] = {}
    for one in gone:
        alike.setdefault(_likeness(one), []).append(one)
    for one in come:
        if len(likely := alike.get(_likeness(one), [])) == 1:
            yield one.key, likely.pop()


def _likeness(one: StepEffects) -> Hashable:
    """Return all that a step does and says, but for its name, its place and its guard."""
    settings = frozenset((name, value) for name, value in one.settings.items() if name != "when")
    return one.uses, one.statements, one.actions, one.losses, settings


def _moves(
    before: Mapping[tuple[bool, str], StepEffects], after: Mapping[tuple[bool, str], StepEffects]
) -> Iterator[tuple[bool, str]]:
    """Yield the steps of both versions that stand elsewhere among the steps of their group: as few as explain it."""
    at = {key: number for number, key in enumerate(before)}
    groups: dict[tuple[bool, str], list[tuple[bool, str]]] = {}
    for key, one in after.items():
        if key in at:
            groups.setdefault(one.parent, []).append(key)
    for keys in groups.values():
        stay = _longest_rising_run([at[key] for key in keys])
        yield from (key for key in keys if at[key] not in stay)


def _longest_rising_run(numbers: Sequence[int]) -> set[int]:
    """Return a longest rising subsequence (patience sorting)."""
    ends: list[int] = []
    above: dict[int, int | None] = {}
    for number in numbers:
        place = bisect_left(ends, number)
        above[number] = ends[place - 1] if place else None
        ends[place : place + 1] = [number]
    found, last = set[int](), ends[-1] if ends else None
    while last is not None:
        found.add(last)
        last = above[last]
    return found


def _place(one: StepEffects, new: PlanEffects) -> str:
    block = [each for each in new.steps if each.parent == one.parent]
    at = block.index(one)
    return f"{one.label} is now {f'behind {block[at - 1].label}' if at else 'the first'}"


# ------------------------------------------------------------------ steps that come and go


def _change(what: What, one: StepEffects, text: str, before: str = "", after: str = "") -> Change:
    return Change(what=what, step=one.path, text=text, before=before, after=after, of_rollback=one.of_rollback)


def _is_protected(one: StepEffects) -> bool:
    return one.verdict == "protected"


def _protection_text(one: StepEffects) -> str:
    """Return by what a step that takes something away is protected, or why it is not."""
    return f"protected: {one.chain}" if _is_protected(one) else f"NOT PROTECTED: {one.chain}"


def _losses(one: StepEffects, some: Iterable[str]) -> Iterator[Change]:
    what = What.LOSS_ADDED if _is_protected(one) else What.LOSS_UNPROTECTED
    yield from (_change(what, one, f"{loss} (step {one.label})", after=_protection_text(one)) for loss in some)


def _of_new_step(one: StepEffects) -> Iterator[Change]:
    yield _change(What.STEP_ADDED, one, f"{one.label} ({one.uses})", after=one.settings.get("when", ""))
    yield from _losses(one, one.losses)
    yield from (_change(What.LOCK_ADDED, one, f"{lock} (step {one.label})") for lock in one.locks)
    yield from (_change(What.STATEMENT_ADDED, one, one.label, after=each) for each in (*one.statements, *one.actions))
    yield from _objects(replace(one, objects=()), one)


def _of_old_step(one: StepEffects) -> Iterator[Change]:
    yield _change(What.STEP_REMOVED, one, f"{one.label} ({one.uses})")
    yield from (_change(What.LOSS_REMOVED, one, f"{loss} (step {one.label})") for loss in one.losses)
    yield from (_change(What.LOCK_REMOVED, one, f"{lock} (step {one.label})") for lock in one.locks)
    gone = (*one.statements, *one.actions)
    yield from (_change(What.STATEMENT_REMOVED, one, one.label, before=each) for each in gone)


# ------------------------------------------------------------------ a step of both versions


def _differences(then: StepEffects, now: StepEffects) -> Iterator[Change]:
    yield from _losses(now, _more(now.losses, then.losses))
    yield from (
        _change(What.LOSS_REMOVED, now, f"{loss} (step {now.label})") for loss in _more(then.losses, now.losses)
    )
    yield from _protection(then, now)
    for what, some in (
        (What.LOCK_ADDED, _more(now.locks, then.locks)),
        (What.LOCK_REMOVED, _more(then.locks, now.locks)),
    ):
        yield from (_change(what, now, f"{lock} (step {now.label})") for lock in some)
    for field in ("statements", "actions"):
        one, other = getattr(then, field), getattr(now, field)
        yield from (_change(What.STATEMENT_REMOVED, now, now.label, before=each) for each in _more(one, other))
        yield from (_change(What.STATEMENT_ADDED, now, now.label, after=each) for each in _more(other, one))
        if Counter(one) == Counter(other) and one != other:
            yield _change(What.STEP_CHANGED, now, f"{now.label}: the same {field} in another order")
    if then.uses != now.uses:
        yield _change(What.STEP_CHANGED, now, f"{now.label}: uses", then.uses, now.uses)
    yield from _objects(then, now)
    yield from _settings(now.label, then.settings, now.settings, now)


def _more(some: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return what is in `some` more often than in `others`, in its order."""
    left, found = Counter(others), []
    for one in some:
        if left[one]:
            left[one] -= 1
        else:
            found.append(one)
    return found


def _protection(then: StepEffects, now: StepEffects) -> Iterator[Change]:
    """Yield how the protection of what a step takes away changes, where it took something away before, too."""
    same = then.verdict == now.verdict and (then.chain == now.chain or then.verdict == "unprotected")
    if same or not (then.losses and now.losses):
        return
    what = What.PROTECTION_CHANGED
    if _is_protected(then) and not _is_protected(now):
        what = What.PROTECTION_REMOVED
    elif _is_protected(now) and not _is_protected(then):
        what = What.PROTECTION_ADDED
    elif not _is_protected(now):
        what = What.PROTECTION_REMOVED if then.verdict != now.verdict else What.PROTECTION_CHANGED
    yield _change(
        what, now, f"{'; '.join(now.losses)} (step {now.label})", _protection_text(then), _protection_text(now)
    )


def _objects(then: StepEffects, now: StepEffects) -> Iterator[Change]:
    """Yield objects that meet another fate, as far as databases were asked for both versions."""
    before, after = {one.what: one for one in then.objects}, {one.what: one for one in now.objects}
    for name in dict.fromkeys([*after, *before]):
        one, other = before.get(name), after.get(name)
        was, is_now = (str(one.fate) if one else ""), (str(other.fate) if other else "")
        if was != is_now:
            worse = any(fates.worse([one] if one else [], [other] if other else []))
            what = What.OBJECT_WORSE if worse else What.OBJECT_CHANGED
            rows = _rows(other or one)
            yield _change(what, now, f"{name}{rows} (step {now.label})", was or "not touched", is_now or "not touched")


def _rows(one: ObjectFate | None) -> str:
    """Return how much is at stake: `, 500 rows, 184 kB`; "" where that is not known."""
    rows = [] if one is None or one.rows is None else [f"{'' if one.exact else 'about '}{plural(one.rows, 'row')}"]
    return "".join(f", {word}" for word in [*rows, *([size(one.bytes)] if one and one.bytes else [])])


# ------------------------------------------------------------------ settings and files


def _settings(
    where: str, then: Mapping[str, str], now: Mapping[str, str], step: StepEffects | None = None
) -> Iterator[Change]:
    for name in dict.fromkeys([*now, *then]):
        was, is_now = then.get(name, ""), now.get(name, "")
        if was == is_now:
            continue
        what, text = _what_setting(name, step), f"{where}: {name}" if where else name
        if step is None and (gone := _no_longer_protected(name, was, is_now)):
            what, text = What.PROTECTED_TABLE, ", ".join(gone)
        path, back = (step.path, step.of_rollback) if step else ("", False)
        yield Change(what=what, step=path, text=text, before=was, after=is_now, of_rollback=back)


def _no_longer_protected(name: str, was: str, is_now: str) -> list[str]:
    return [one for one in was.split(", ") if one and one not in is_now.split(", ")] if name == "protected" else []


_SAVING = ("backup", "pg_dump", "retention", "verify_backup")
"""Kinds and templates whose settings say what is saved, and how long it is kept."""


def _what_setting(name: str, step: StepEffects | None) -> What:
    if step is None:
        return What.CONNECTION_CHANGED if name.startswith("connection ") else What.SETTING_CHANGED
    if name in ("when", "on_error", "acknowledge"):
        return What.GUARD_CHANGED
    if name.startswith("with.connection"):
        return What.CONNECTION_CHANGED
    return What.BACKUP_CHANGED if step.uses in _SAVING else What.SETTING_CHANGED


def _of_files(old: PlanEffects, new: PlanEffects, found: Sequence[Change]) -> Iterator[Change]:
    """Yield files that changed where that had no effect that is known, or where not all effects are known."""
    changed = [name for name in dict.fromkeys([*new.files, *old.files]) if old.files.get(name) != new.files.get(name)]
    if found and not any(one.unknown for one in new.steps):
        return
    for name in changed:
        state = "is new" if name not in old.files else "is gone" if name not in new.files else "changed"
        unknown = sum(bool(one.unknown) for one in new.steps)
        if unknown:
            more = f"what {plural(unknown, 'step')} would send is known only in a run"
            yield Change(what=What.UNKNOWN, text=f"{name} {state}; {more}")
