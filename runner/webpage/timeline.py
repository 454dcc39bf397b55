"""The timeline of an attempt: its steps, actions, locks and waits as bars. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runner.webpage.fields import text
from runner.webpage.locks import StepLock
from runner.webpage.run_facts import Attempt, Done, StepFacts, Wait
from runner.words import seconds

WIDTH = 1000
"""Units of the width of a bar's picture; the page scales it."""

NARROWEST = 3
"""Units of the narrowest bar that can be seen."""

_WORDS = 110
"""Characters of a wait beside its bar; a table has the whole message."""

ACTIONS = 20
"""How many actions of a step have a bar, the longest ones."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A line of the timeline. kind: step, action, lock or wait; x, width: in units of WIDTH; when: in words.

    level: how deep it is indented. state: of a step.
    """

    kind: str
    label: str
    x: float
    width: float
    when: str
    level: int = 0
    state: str = ""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The time that a timeline shows."""

    began: datetime
    seconds: float

    def bar(self, kind: str, label: str, began: datetime, took: float, **more: object) -> Bar:
        total = self.seconds or 1.0
        start = min(max((began - self.began).total_seconds(), 0.0), total)
        width = max(min(took, total - start) / total * WIDTH, NARROWEST)
        x = min(start / total * WIDTH, WIDTH - width)
        when = f"after {seconds(start)}, for {seconds(took)}"
        return Bar(kind=kind, label=label, x=round(x, 1), width=round(width, 1), when=when, **more)  # type: ignore[arg-type]

    def marks(self) -> list[str]:
        """Return the times at the quarters of the picture."""
        return [seconds(self.seconds * part / 4) if part else "0" for part in range(5)]


def span(attempt: Attempt) -> Span | None:
    """Return the time from the beginning of an attempt to its last record; None if no time is known."""
    if attempt.began is None:
        return None
    times = [attempt.ended, *(one.ended for one in attempt.steps.values())]
    times += [done.ended for step in attempt.steps.values() for done in step.done]
    times += [wait.began for wait in attempt.waits]
    last = max([one for one in times if one], default=attempt.began)
    return Span(began=attempt.began, seconds=max((last - attempt.began).total_seconds(), 0.001))


def step_bars(attempt: Attempt, at: Span, locks: Sequence[StepLock]) -> Iterator[list[Bar]]:
    """Yield the bars of each step that did something: its own, those of its actions, locks and waits."""
    waits: dict[str, list[Wait]] = {}
    for wait in attempt.waits:
        waits.setdefault(wait.path, []).append(wait)
    of_step: dict[str, list[StepLock]] = {}
    for lock in locks:
        of_step.setdefault(lock.path, []).append(lock)
    for wait in waits.get("", ()):
        yield list(_wait_bars([wait], at, 0))
    for path, step in attempt.steps.items():
        if step.recorded or step.is_group or not (bar := _step_bar(step, at)):
            continue
        inner = [*_action_bars(step, at), *_lock_bars(of_step.get(path, ()), at), *_wait_bars(waits.get(path, ()), at)]
        yield [bar, *sorted(inner, key=lambda one: one.x)]


def _step_bar(step: StepFacts, at: Span) -> Bar | None:
    took = step.seconds
    if step.state == "skipped" or (step.state and step.ended is None):
        return None
    if step.ended is not None and step.began is None and took is not None:
        step.began = step.ended - timedelta(seconds=min(took, 1e6))
    if step.began is None:
        return None
    end = step.ended or at.began + timedelta(seconds=at.seconds)
    took = (end - step.began).total_seconds()
    return at.bar("step", f"{step.path} ({step.uses})", step.began, max(took, 0.0), state=step.state or "begun")


def _action_bars(step: StepFacts, at: Span) -> Iterator[Bar]:
    """Yield the bars of the longest actions of a step with several."""
    known = [(name, done) for name, done in action_names(step) if done.began and done.seconds]
    if len(known) < 2:
        return
    longest = sorted(known, key=lambda one: -(one[1].seconds or 0.0))[:ACTIONS]
    for name, done in sorted(longest, key=lambda one: one[1].began or at.began):
        if done.began and done.seconds:
            yield at.bar("action", name, done.began, done.seconds, level=1)


def action_names(step: StepFacts) -> Iterator[tuple[str, Done]]:
    """Yield what was done in a step with a name: the first words of an action, if it is clear which one it was.

    A journal names an action by a hash; the actions of a step are done in their order, branches are not.
    """
    plain = [done for done in step.done if "/" not in done.key]
    actions = [one for one in step.actions if text(one, "action") != "together"]
    names = list(map(action_title, actions)) if len(plain) == len(actions) else []
    count = 0
    for done in step.done:
        if "/" not in done.key and names:
            yield names[count], done
            count += 1
        else:
            yield "item of for_each" if "/" in done.key else "action", done


def action_title(action: object) -> str:
    """Return an action in a few words: `sql: create table t`."""
    if not isinstance(action, dict):
        return "action"
    name = text(action, "action") or "action"
    for key in ("what", "text", "message", "to", "session", "path", "folder", "schema"):
        if words := " ".join(_without_mark(text(action, key)).split()):
            return f"{name}: {words[:70]}{'...' if len(words) > 70 else ''}"
    argv = action.get("argv")
    if isinstance(argv, list | tuple) and argv:
        words = " ".join(map(str, argv))
        return f"{name}: {words[:70]}{'...' if len(words) > 70 else ''}"
    return name


def _without_mark(words: str) -> str:
    """Return a text that begins with an SQL comment as that comment: it says what planrun's own SQL is for."""
    return words.lstrip().removeprefix("--").partition("\n")[0] if words.lstrip().startswith("--") else words


def _lock_bars(locks: Sequence[StepLock], at: Span) -> Iterator[Bar]:
    for lock in locks:
        if lock.began and lock.seconds is not None:
            yield at.bar("lock", f"{lock.mode} on {lock.what}", lock.began, lock.seconds, level=1)


def _wait_bars(waits: Sequence[Wait], at: Span, level: int = 1) -> Iterator[Bar]:
    end = at.began + timedelta(seconds=at.seconds)
    for wait in waits:
        if wait.began:
            took = (end - wait.began).total_seconds() if wait.seconds is None else wait.seconds
            who = f"connection {wait.connection} " if wait.connection else ""
            words = who + wait.message.rpartition("waited ")[2]
            label = words if len(words) <= _WORDS else f"{words[:_WORDS]}..."
            yield at.bar("wait", label, wait.began, max(took, 0.0), level=level)


def longest_first(groups: Sequence[list[Bar]]) -> list[int]:
    """Return the numbers of the groups, the longest step first."""
    return sorted(range(len(groups)), key=lambda number: -groups[number][0].width)
