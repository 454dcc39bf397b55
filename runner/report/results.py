"""Write a result or a stream of events in the requested format."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

from runner import impact
from runner.board import Board
from runner.events import ActionProgress, AtWork, Event, ServerProgress, Waiting, plain, planned_step_json, to_json
from runner.fates import Preview, object_json
from runner.report import colours, progress, summary, text
from runner.report.envelope import envelope, error_json
from runner.report.heartbeat import EVERY, EVERY_JSON, Heartbeat, interval
from runner.result import RunResult, StepResult
from runner.words import json_text


class Listener(Protocol):
    """Receives events as they happen. `pause` hides everything while a question is asked or a program has the terminal.

    ask: say on stderr how far the step at work is; a signal handler may call it.
    """

    def event(self, event: Event) -> None: ...

    def pause(self) -> AbstractContextManager[None]: ...

    def ask(self) -> None: ...


class _Told:
    """Keeps what is known of the step at work, and says it on stderr after a silence, or when somebody asks.

    every: seconds of silence without an own choice of the user; None: only when somebody asks.
    """

    every: float | None = None

    def __init__(self) -> None:
        self._board, self._paused, self._printing = Board(), False, threading.Lock()
        self._heartbeat = Heartbeat(self._board, self._tell, self.every and interval(os.environ, self.every))

    def __enter__(self) -> Self:
        self._heartbeat.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._heartbeat.__exit__()

    def event(self, event: Event) -> None:
        self._board.take(event)

    def ask(self) -> None:
        if not self._paused:
            self._heartbeat.ask()

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def _tell(self, at_work: AtWork | None, asked: bool) -> None:
        if not self._paused:
            self._say(progress.line(at_work) if at_work else progress.IDLE)

    def _say(self, line: str) -> None:
        with self._printing:
            colours.show(line, sys.stderr, flush=True)


class _Silent(_Told):
    """Prints nothing unless somebody asks, or after a long silence."""

    every = EVERY


class _Lines(_Told):
    """One plain line per event on stderr; a diff is shown as a whole, not by its events.

    brief: a summary follows that says why a step failed.
    """

    every = EVERY

    def __init__(self, *, brief: bool) -> None:
        super().__init__()
        self._brief = brief

    def event(self, event: Event) -> None:
        super().event(event)
        if self._board.diffing and not isinstance(event, Waiting):
            return
        if line := text.event_line(event, brief=self._brief):
            self._say(line)
            self._heartbeat.note_line()


class _Waits(_Told):
    """Prints a line on stderr when planrun waits for a lock, because there is no other output meanwhile."""

    def event(self, event: Event) -> None:
        if isinstance(event, Waiting):
            self._say(text.event_line(event))


class _JsonLines(_Told):
    """One JSON object per event on stdout; the step at work every few seconds."""

    every = EVERY_JSON

    def event(self, event: Event) -> None:
        super().event(event)
        if not isinstance(event, ActionProgress | ServerProgress):
            self._print(event)

    def _print(self, event: Event) -> None:
        with self._printing:
            print(json_text(to_json(event)), flush=True)

    def _tell(self, at_work: AtWork | None, asked: bool) -> None:
        if asked:
            super()._tell(at_work, asked)
        elif at_work:
            self._print(at_work)


def writer(output: str) -> Listener:
    """Return the listener of a command that only reads: all events for jsonl, else only waits for locks, on stderr."""
    return _JsonLines() if output == "jsonl" else _Waits()


@contextlib.contextmanager
def listen(output: str, *, quiet: bool = False, brief: bool = False, watching: bool = False) -> Iterator[Listener]:
    """Yield the listener of a command that acts: live on a terminal, plain lines in a pipe or CI, or JSON Lines.

    quiet: of a command whose result is not a run: only how far it is. brief: a text follows that says why a
    step failed. watching: another process acts.
    """
    if output == "jsonl":
        with _JsonLines() as lines:
            yield lines
    elif live_terminal():
        from runner.report.live import Live

        with Live(quiet=quiet, brief=brief, heading=watching) as live:
            yield live
    else:
        with _Silent() if quiet else _Lines(brief=brief) as told:
            yield told


def share_one_place() -> bool:
    """Return whether stdout and stderr go to one place, such as a terminal, so that one need not repeat the other."""
    try:
        out, err = os.fstat(sys.stdout.fileno()), os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or not a file
        return False
    return (out.st_dev, out.st_ino) == (err.st_dev, err.st_ino)


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
    told = {"facts": list(preview.lines), "objects": [object_json(one) for one in preview.objects]}
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
