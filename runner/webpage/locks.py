"""The locks that the steps of a run held: those of an exchange as it measured them, those of SQL as its text tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from runner.webpage.fields import number, text
from runner.webpage.run_facts import Done, StepFacts
from runner.words import plural

NAMES = 5
"""How many relations a lock names; the object table has all."""


@dataclass(frozen=True, kw_only=True)
class StepLock:
    """A lock that a step held. about: `measured`, or `at most` for the whole time of its transaction.

    began, seconds: None if the journal did not note them.
    """

    path: str
    mode: str
    what: str
    began: datetime | None
    seconds: float | None
    about: str


def step_locks(step: StepFacts) -> Iterator[StepLock]:
    """Yield the locks of what was done in a step that keep others from writing."""
    exchanges = iter([one for one in step.actions if text(one, "action") == "exchange"])
    for done in step.done:
        held = number(done.result, "locked_ms")
        if held is not None:
            yield from _locks_of_action(step, done, held / 1000, text(next(exchanges, {}), "locks"))
    if step.uses == "sql":
        yield from _of_sql(step)


def _locks_of_action(step: StepFacts, done: Done, held: float, statements: str) -> Iterator[StepLock]:
    """Yield the locks of an exchange. statements: its LOCK TABLE statements."""
    began = done.ended - timedelta(seconds=min(held, 1e6)) if done.ended else None
    found = _strong_locks(statements) or {"": list(step.locks)}
    for mode, names in found.items():
        what = _names(names) if names else "not recorded"
        yield StepLock(
            path=step.path, mode=mode or "not recorded", what=what, began=began, seconds=held, about="measured"
        )


def _of_sql(step: StepFacts) -> Iterator[StepLock]:
    sql = [one for one in step.actions if text(one, "action") == "sql"]
    done = [one for one in step.done if "/" not in one.key]
    known = done if len(done) == len(step.actions) == len(sql) else [None] * len(sql)
    for action, one in zip(sql, known, strict=True):
        for mode, names in _strong_locks(text(action, "text")).items():
            yield StepLock(
                path=step.path, mode=mode, what=_names(names), began=one.began if one else step.began,
                seconds=one.seconds if one else step.seconds, about="at most",
            )  # fmt: skip


def _strong_locks(sql: str) -> dict[str, list[str]]:
    """Return the relations that a text locks for certain, by mode; empty for a text that cannot be parsed."""
    from runner.errors import PlanrunError
    from runner.safesql.statement_locks import statement_locks

    try:
        found = statement_locks(sql)
    except (PlanrunError, ValueError):  # a secret was taken out of it
        return {}
    names: dict[str, list[str]] = {}
    for one in found:
        for lock in one.locks:
            if lock.certain and lock.is_named and not lock.new and lock.mode.blocks:
                names.setdefault(lock.mode.value, []).append(lock.what)
    return {mode: list(dict.fromkeys(each)) for mode, each in names.items()}


def _names(names: list[str]) -> str:
    more = f" and {plural(len(names) - NAMES, 'more relation')}" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more
