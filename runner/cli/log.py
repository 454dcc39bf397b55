"""The option --log-format json: stderr becomes a log of JSON objects, one for each event, message or error."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from runner.errors import PlanrunError, UsageError
from runner.words import json_text, safe

if TYPE_CHECKING:
    from runner.events import Emit, Event
    from runner.redact import Redactor
    from runner.report.results import Listener

F = TypeVar("F", bound=Callable[..., Any])

FORMAT_VERSION = 1
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LEVELS = {"error": "error", "warning": "warning", "planrun": "error"}
"""The level of a line by the word before its first colon; `planrun: this is a bug` is one of a bug."""
_PAUSE = 10.0
"""Seconds between two lines of the progress of one thing."""


def log_format_option(function: F) -> F:
    """Add --log-format. It acts at once, so that no later message or error is written as text."""
    help_text = "What stderr gets: text, or a log of one JSON object for each event (needs --yes where a command asks)."
    option = click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help=help_text,
        is_eager=True, expose_value=False, callback=_begin,
    )  # fmt: skip
    return option(function)


def _begin(context: click.Context, param: click.Parameter, value: str) -> None:
    if value == "json" and not context.resilient_parsing and not is_on():
        sys.stderr = LogStream(sys.stderr)


class LogStream(io.TextIOBase):
    """Stands for stderr: each line that is written becomes the message of an object. `of` is added to each."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, stream: TextIO) -> None:
        self.of: dict[str, Any] = {}
        self._stream, self._lock, self._begun = stream, threading.RLock(), ""
        self._redactor: Redactor | None = None

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str, /) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + _COLOUR.sub("", text)).split("\n")
            for line in lines:
                self._line(line)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def finish(self) -> None:
        """Write what has no line break yet."""
        with self._lock:
            line, self._begun = self._begun, ""
            self._line(line)

    def _line(self, line: str) -> None:
        if line.strip():
            level = _LEVELS.get(line.partition(":")[0], "info")
            self.entry(level, "planrun", line.rstrip(), event="message")

    def entry(self, level: str, logger: str, message: str, **more: Any) -> None:
        """Write one object. more: its own fields; those that are None or empty are left out."""
        data = {
            "format_version": FORMAT_VERSION,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": level,
            "logger": logger,
            "message": safe(message),
            **self.of,
            **{name: value for name, value in more.items() if value not in (None, "", (), [], {})},
        }
        text = json_text(self._hide(data))
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _hide(self, data: dict[str, Any]) -> dict[str, Any]:
        from runner.redact import Redactor

        self._redactor = self._redactor or Redactor({}, os.environ)
        return self._redactor.of(data)


def is_on() -> bool:
    return isinstance(sys.stderr, LogStream)


def finish() -> None:
    """Write the rest of a line, before the process ends."""
    if isinstance(sys.stderr, LogStream):
        sys.stderr.finish()


def error(exc: PlanrunError) -> bool:
    """Write an error as one object; return false if stderr is no log."""
    stream = sys.stderr
    if not isinstance(stream, LogStream):
        return False
    from runner.report.envelope import error_json

    data = error_json(exc)
    stream.entry("error", "planrun", data.pop("message"), event="error", **data)
    return True


def refuse_questions(*, yes: bool) -> None:
    """Raise UsageError if a command that asks has a log for stderr, where nobody can read a question."""
    if is_on() and not yes:
        raise UsageError(
            "--log-format json leaves no place for a question", hint="read planrun diff, then add --yes", code="PR1129"
        )


# ------------------------------------------------------------------ events


@contextlib.contextmanager
def listen(output: str, *, quiet: bool = False, brief: bool = False) -> Iterator[Listener]:
    """Yield the listener of a command that acts: the log if it is on, else that of the terminal or pipe."""
    from runner.report import results

    if isinstance(sys.stderr, LogStream):
        yield _LogListener(sys.stderr, output, diffs=False)
    else:
        with results.listen(output, quiet=quiet, brief=brief) as listener:
            yield listener


def writer(output: str) -> Listener:
    """Return the listener of a command that only reads."""
    from runner.report import results

    return _LogListener(sys.stderr, output, diffs=True) if isinstance(sys.stderr, LogStream) else results.writer(output)


def receiver() -> Emit | None:
    """Return what gets the events of a run that no terminal shows; None if the log is off."""
    return _LogListener(sys.stderr, "text", diffs=False).event if isinstance(sys.stderr, LogStream) else None


class _LogListener:
    """Writes events to the log; with -o jsonl, also to stdout. diffs: also the steps of a diff."""

    def __init__(self, stream: LogStream, output: str, *, diffs: bool) -> None:
        from runner.report import results

        self._stream, self._diffs, self._diffing = stream, diffs, False
        self._also = results.writer(output).event if output == "jsonl" else None
        self._last: dict[tuple[str, str], float] = {}

    def pause(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def ask(self) -> None:
        """Say nothing: the log has the progress of the step at work already."""

    def event(self, event: Event) -> None:
        if self._also:
            self._also(event)
        self._log(event)

    def _log(self, event: Event) -> None:
        from runner.events import (
            ActionDone,
            ActionProgress,
            Progress,
            Resuming,
            Retrying,
            RunBegan,
            RunEnded,
            StepEnded,
            StepPlanned,
            Waiting,
            Warned,
        )
        from runner.report.progress import amount, share
        from runner.report.text import event_line

        entry = self._stream.entry
        match event:
            case RunBegan():
                self._diffing = event.mode == "diff"
                self._stream.of = {"run": event.run, "plan": event.plan, "mode": event.mode}
                what = "diff begins" if self._diffing else f"run {event.run} of plan {event.plan} begins ({event.mode})"
                entry("info", "planrun.run", what, event="run_began", file=event.file, digest=event.digest,
                      databases=event.databases, host=event.host, pid=event.pid, user=event.user,
                      version=event.version)  # fmt: skip
            case RunEnded():
                level = "info" if event.exit_code == 0 else "error"
                what = "diff" if self._diffing else f"run {event.run}"
                said = f"{what}: {event.state}" + (f": {event.message}" if event.message else "")
                entry(level, "planrun.run", said, event="run_ended", state=event.state, exit_code=event.exit_code,
                      seconds=event.seconds, counts=dict(event.counts), next=event.next)  # fmt: skip
            case Resuming():
                entry("info", "planrun.run", event_line(event), event="resuming", run=event.run, state=event.state,
                      done=event.done)  # fmt: skip
            case Warned():
                entry("warning", "planrun.run", f"{event.about}: {event.message}", event="warning", about=event.about,
                      code=event.code, hint=event.hint)  # fmt: skip
            case Waiting():
                entry("warning", "planrun.lock", event_line(event), event="waiting", connection=event.connection)
            case Retrying():
                entry("warning", "planrun.step", event_line(event), event="retrying", step=event.path,
                      attempt=event.attempt, of=event.of, delay=event.delay)  # fmt: skip
            case StepPlanned(planned=planned) if planned.settled is None and self._shows_steps():
                entry("info", "planrun.step", event_line(event), event="turn", step=planned.path,
                      uses=planned.step.uses, because=planned.because)  # fmt: skip
            case StepEnded(outcome=one) if self._shows_steps():
                level = {"failed": "error", "warned": "warning"}.get(one.state.value, "info")
                entry(level, "planrun.step", event_line(event), event="outcome", step=one.path, state=one.state.value,
                      seconds=round(one.seconds, 3), attempts=one.attempts, code=one.code, hint=one.hint,
                      recorded=one.recorded or None, outputs=_numbers(one.outputs))  # fmt: skip
            case ActionDone():
                entry("debug", "planrun.step", f"{event.path}: action {event.key} done", event="action_done",
                      step=event.path, action=event.key)  # fmt: skip
            case Progress(unit="line"):
                entry("info", "planrun.output", event.what.rstrip(), event="output", step=event.path)
            case ActionProgress() if self._is_due(event.path, event.key):
                phases = [f"{one.phase} {amount(one)}" for one in event.phases]
                entry("info", "planrun.progress", f"{event.path}: {', '.join(phases) or event.what}{share((event,))}",
                      event="progress", step=event.path, action=event.key, share=event.share, left=event.left,
                      done=sum(one.done for one in event.phases), total=sum(one.total for one in event.phases),
                      unit="bytes")  # fmt: skip
            case _:
                pass

    def _shows_steps(self) -> bool:
        return self._diffs or not self._diffing

    def _is_due(self, *what: str) -> bool:
        now, key = time.monotonic(), (what[0], what[1])
        if now - self._last.get(key, -_PAUSE) < _PAUSE:
            return False
        self._last[key] = now
        return True


def _numbers(outputs: Any) -> dict[str, Any]:
    """Return the outputs that are numbers or truth values: names and rows are in the journal."""
    return {name: value for name, value in outputs.items() if isinstance(value, int | float)}
