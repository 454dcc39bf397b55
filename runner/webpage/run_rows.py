"""The lines of a report's tables: objects, guards, steps. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from runner.errors import with_code
from runner.fates import Fate
from runner.webpage import timeline
from runner.webpage.fields import Fields, text, texts, whole
from runner.webpage.run_facts import NO_END, StepFacts
from runner.words import seconds, size

LONGEST = 200_000
"""Characters of one SQL text or value that a page contains; the journal has the rest."""

_SHORT = 400
"""Characters of an output that a page contains."""

_HARM = list(Fate)
_STATES = {
    "ok": "ok", "warned": "warn", "failed": "bad", "interrupted": "bad", "skipped": "quiet", "paused": "warn",
    "declined": "warn", NO_END: "warn",
}  # fmt: skip
_SIGNS = {"ok": "✓", "warn": "!", "bad": "✗", "quiet": "-"}


@dataclass(frozen=True, kw_only=True)
class State:
    """A state with its sign and its class: a state is never told by colour alone."""

    word: str

    @property
    def look(self) -> str:
        return _STATES.get(self.word, "quiet")

    @property
    def sign(self) -> str:
        return _SIGNS[self.look]


@dataclass(frozen=True, kw_only=True)
class ObjectRow:
    """A line of the object table. done: whether the step that says so has succeeded."""

    kind: str
    name: str
    fate: str
    done: bool
    before: str
    after: str
    size: str
    columns: str
    note: str
    path: str
    order: tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """A step with all that its fold contains."""

    step: StepFacts
    state: State
    took: str
    message: str
    actions: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


def object_rows(steps: Iterable[StepFacts]) -> Iterator[ObjectRow]:
    """Yield the objects of all steps; those that only a later swap puts in count where no step of the run did that."""
    steps = list(steps)
    swapped = {_what(one) for step in steps for one in step.objects}
    for step in steps:
        yield from (_object_row(step, one, done=step.has_succeeded) for one in step.objects)
        yield from (_object_row(step, one, done=False) for one in step.coming if _what(one) not in swapped)


def _what(one: Fields) -> tuple[str, str]:
    return text(one, "kind"), text(one, "name")


def _object_row(step: StepFacts, one: Fields, *, done: bool) -> ObjectRow:
    about = "" if one.get("rows_exact", True) else "about "
    before, after, volume = whole(one, "rows"), whole(one, "rows_after"), whole(one, "bytes")
    columns = [f"+ {each}" for each in texts(one, "gains")] + [f"- {each}" for each in texts(one, "loses")]
    fate = text(one, "fate")
    place = _HARM.index(Fate(fate)) if fate in set(Fate) else len(_HARM)
    return ObjectRow(
        kind=text(one, "kind"), name=text(one, "name"), fate=fate, done=done, path=step.path, note=text(one, "note"),
        before="" if before is None else f"{about}{before:,}", after="" if after is None else f"{about}{after:,}",
        size="" if volume is None else size(volume), columns=", ".join(columns),
        order=(place, text(one, "name")),
    )  # fmt: skip


def guards(steps: Iterable[StepFacts]) -> Iterator[tuple[StepFacts, State, str]]:
    """Yield the steps that a guard of their own decided on, or that were skipped, with the values that decided."""
    for step in steps:
        why = step.because or (step.message if step.state == "skipped" else "")
        if step.state == "skipped" or why.startswith("when "):
            yield step, State(word=step.state or "begun"), why or "not recorded"


def step_row(step: StepFacts) -> StepRow:
    return StepRow(
        step=step,
        state=State(word=step.state or "begun, no end written"),
        took=seconds(step.seconds) if step.seconds is not None and step.state != "skipped" else "",
        message=with_code(step.code, step.message) if step.message else "",
        actions=tuple((timeline.action_title(dict(one)), _whole_action(one)) for one in step.actions),
        outputs=tuple((name, _cut(_json(value), _SHORT)) for name, value in step.outputs.items()),
    )


def _whole_action(action: Fields) -> str:
    sql = text(action, "text")
    rest = {name: value for name, value in action.items() if name not in ("action", "text") and value not in ("", [])}
    return _cut(f"{sql.strip(chr(10))}\n" if sql else _json(rest, indent=1), LONGEST)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _cut(words: str, length: int) -> str:
    if len(words) <= length:
        return words
    return f"{words[:length]}\n... ({len(words):,} characters; planrun explain -o json shows all)"
