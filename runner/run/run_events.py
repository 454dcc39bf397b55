"""Events of a run as its journal and its listeners get them."""

from __future__ import annotations

from dataclasses import replace

from runner.events import ActionDone, Event, RunEnded, StepEnded
from runner.redact import Redactor
from runner.result import RunResult


def end_event(result: RunResult, step: str = "") -> RunEnded:
    message, code = (result.error.message, result.error.code) if result.error else ("", "")
    return RunEnded(
        run=result.run, state=result.state, exit_code=result.exit_code, seconds=round(result.seconds, 3),
        message=message, code=code, step=step, next=result.next, counts=result.counts,
        way_back=result.way_back,
    )  # fmt: skip


def without_secrets(redactor: Redactor, event: Event) -> Event:
    """Return the event without secrets; it is marked if its result lost one, because a resume cannot use it."""
    shown = redactor.of(event)
    if isinstance(event, ActionDone) and isinstance(shown, ActionDone):
        return replace(shown, hidden=shown.result is not event.result)
    if isinstance(event, StepEnded) and isinstance(shown, StepEnded):
        return replace(shown, hidden=shown.outcome.outputs is not event.outcome.outputs)
    return shown
