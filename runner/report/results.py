"""Write a result or a stream of events in the requested format."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from runner import impact
from runner.events import Event, Progress, RunBegan, Waiting, plain, planned_step_json, to_json
from runner.fates import Preview
from runner.report import colours, summary, text
from runner.report.envelope import envelope, error_json
from runner.result import RunResult, StepResult
from runner.words import json_text


class Listener(Protocol):
    """Receives events as they happen. `pause` hides the live display while a question is asked."""

    def event(self, event: Event) -> None: ...

    def pause(self) -> AbstractContextManager[None]: ...


class _Silent:
    def event(self, event: Event) -> None:
        return None

    def pause(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


class _Lines(_Silent):
    """One plain line per event on stderr; a diff is shown as a whole, not by its events."""

    def __init__(self) -> None:
        self._diffing = False

    def event(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self._diffing = event.mode == "diff"
        if (not self._diffing or isinstance(event, Waiting)) and (line := text.event_line(event)):
            colours.show(line, sys.stderr, flush=True)


class _Waits(_Silent):
    """Prints a line on stderr when planrun waits for a lock, because there is no other output meanwhile."""

    def event(self, event: Event) -> None:
        if isinstance(event, Waiting):
            colours.show(text.event_line(event), sys.stderr, flush=True)


class _JsonLines(_Silent):
    """One JSON object per event on stdout."""

    def event(self, event: Event) -> None:
        if not isinstance(event, Progress) or event.unit == "line":
            print(json_text(to_json(event)), flush=True)


def writer(output: str) -> Listener:
    """Return the listener of a command that only reads: all events for jsonl, else only waits for locks, on stderr."""
    return _JsonLines() if output == "jsonl" else _Waits()


@contextlib.contextmanager
def listen(output: str) -> Iterator[Listener]:
    """Yield the listener of a command that acts: live on a terminal, plain lines in a pipe or CI, or JSON Lines."""
    if output == "jsonl":
        yield _JsonLines()
    elif live_terminal():
        from runner.report.live import Live

        with Live() as live:
            yield live
    else:
        yield _Lines()


def live_terminal() -> bool:
    """Return whether stderr can be drawn on: a terminal that is not dumb, and not CI."""
    return sys.stderr.isatty() and colours.able(os.environ)


def as_json(result: RunResult, *, verbose: bool = False) -> dict[str, Any]:
    """Return a result as JSON data; fields may be added later, none will change its meaning in one format_version.

    verbose: with the whole actions of each step. A diff has a summary of what becomes of each object.
    """
    told: dict[str, Any] = {}
    if result.mode == "diff":
        told = {"summary": summary.as_json(summary.summarize(result)), "surroundings": list(result.surroundings)}
        told |= {"told": list(result.told)}
    return {
        **envelope(state=result.state, plan=result.plan, run=result.run, databases=result.databases),
        "mode": result.mode, "exit_code": result.exit_code, "seconds": round(result.seconds, 3),
        "something_to_do": result.something_to_do, "counts": dict(result.counts),
        "error": error_json(result.error) if result.error else None,
        "next": result.next, "way_back": result.way_back, "notes": list(result.notes), **told,
        "steps": [step_json(step, verbose=verbose) for step in result.steps],
        "hooks": [step_json(step, verbose=verbose) for step in result.hooks],
        "warnings": [dataclasses.asdict(warning) for warning in result.warnings],
    }  # fmt: skip


def step_json(step: StepResult, *, verbose: bool) -> dict[str, Any]:
    """Return one step with its state and outputs; if verbose, also with its actions."""
    planned = planned_step_json(step.planned)
    if not verbose:
        del planned["actions"]
    preview = step.planned.preview or Preview()
    told = {"facts": list(preview.lines), "objects": [summary.object_json(one) for one in preview.objects]}
    told |= {"protection": step.protection, "impact": impact.as_json(step.impact) if step.impact else None}
    told |= {"rehearsed": True} if step.rehearsed else {}
    ended = {"state": step.state, "message": step.message, "hint": step.hint, "code": step.code}
    return {**planned, **told, **ended, "outputs": plain(step.outputs), "seconds": round(step.seconds, 3)}


def render(result: RunResult, output: str, *, verbose: bool = False, after: bool = False) -> str:
    """Return a result in a format; nothing for jsonl, whose events were printed as they came."""
    match output:
        case "json":
            return json_text(as_json(result, verbose=verbose), indent=2) + "\n"
        case "markdown":
            from runner.report import markdown

            return markdown.result(result, after=after)
        case "github":
            from runner.report import github

            return github.of_result(result, Path.cwd())
        case "junit":
            from runner.report import junit

            return junit.of_result(result, Path.cwd())
        case "jsonl":
            return ""
    return text.summary(result) if after else text.diff(result, verbose=verbose)
