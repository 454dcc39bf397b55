"""Word how far the step at work is: one line for a pipe, a signal and `planrun status --watch`. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runner.events import ActionProgress, AtWork, PhaseProgress
from runner.words import one_line, seconds, size

IDLE = "no step is at work now"


def line(at_work: AtWork) -> str:
    """Return `load: shadow_load at work for 1 min 12 s, 41 %, about 2 min left; rows 1.2 GB of 3.0 GB, 45 MB/s`."""
    head = f"{at_work.path}: {at_work.uses} at work for {seconds(at_work.seconds)}{share(at_work.progress)}"
    parts = [
        *(one_line(part) for action in at_work.progress for part in _parts(action)),
        *map(one_line, at_work.server),
    ]
    parts += [one_line(at_work.waits)] if at_work.waits else []
    return "; ".join([head, *parts])


def share(actions: tuple[ActionProgress, ...]) -> str:
    """Return `, 41 %, about 2 min left`, as far as it is known; several actions at once have no common share."""
    if len(actions) != 1 or actions[0].share is None:
        return ""
    left = f", about {rough(actions[0].left)} left" if actions[0].left is not None else ""
    return f", {percent(actions[0].share)}{left}"


def _parts(action: ActionProgress) -> Iterator[str]:
    phases = [f"{one.phase} {amount(one)}" for one in action.phases]
    yield from phases
    if action.what:
        yield action.what


def amount(one: PhaseProgress) -> str:
    """Return `1.2 GB of 3.0 GB, 45 MB/s`."""
    rate = f", {size(int(one.rate))}/s" if one.rate else ""
    return f"{size(one.done)} of {size(one.total)}{rate}"


def percent(found: float) -> str:
    return f"{int(found * 100)} %"


def rough(amount: float) -> str:
    """Return a duration as exact as an estimate can be.

    >>> [rough(one) for one in (3, 44, 100, 1300, 9000)]
    ['5 s', '45 s', '2 min', '22 min', '2 h 30 min']
    """
    if amount < 60:
        return f"{max(5, round(amount / 5) * 5)} s"
    minutes = round(amount / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60 // 10 * 10} min"
