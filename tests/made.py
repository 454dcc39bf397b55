"""What the tests of reports share: results made by hand, hostile names, and characters that a terminal must never
get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.errors import Mark, PlanrunError
from runner.model import Action, Outcome, PlannedStep, State, Step
from runner.result import RunResult, StepResult, step_result

HOSTILE = 'x\x1b]0;owned\x07\x1b[2J[bold]red[/] \x9b31m\u202egnp\u202c\u200f\u061c\r\nerror: `faked` | "q" <b>'
"""A name that PostgreSQL takes: escape sequences of two kinds, markup, direction marks, a line of its own."""

EVIL_WORDS = (
    "x\n::error::faked\r\x1b[2J\u202egnp\u2028<img src=http://evil.example/x><!-- planrun:other --> "
    "![x](http://evil.example/y) @everybody | a | `b` ``` </details>"
)
"""A text that tries to be a command, a tag, a link, a cell of a table."""

RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Return the text when no character of it drives a terminal and no name in it made a line of its own."""
    assert not RAW.search(text), repr(RAW.search(text))
    assert not re.search(r"^ {0,3}error: `?faked", text, re.MULTILINE), text
    return text


def planned_step(path: str, *actions: Action, kind: str = "sql", **more: Any) -> PlannedStep:
    step = Step(id=path.rpartition(".")[2], where=Mark("p.yml", 1, 1), kind=kind)
    return PlannedStep(**{"step": step, "path": path, "actions": actions, **more})


def group(path: str) -> PlannedStep:
    inner = Step(id="inner", where=Mark("p.yml", 1, 1), kind="sql")
    return PlannedStep(step=Step(id=path, where=Mark("p.yml", 1, 1), steps=(inner,)), path=path)


def end_step(of: PlannedStep, state: State = State.WOULD, **more: Any) -> StepResult:
    return step_result(of, Outcome(**{"path": of.path, "state": state, **more}))


def result(*steps: StepResult, state: str = "ok", error: PlanrunError | None = None, **more: Any) -> RunResult:
    counts: dict[str, int] = {}
    for step in steps:
        counts[step.state] = counts.get(step.state, 0) + 1
    given: Mapping[str, Any] = {
        "run": "20250720T122655Z-3f9a", "plan": "nightly", "mode": "apply", "state": state, "seconds": 1.5,
        "exit_code": error.exit_code if error else 0, "steps": steps, "counts": counts, "something_to_do": True,
        "error": error, **more,
    }  # fmt: skip
    return RunResult(**given)
