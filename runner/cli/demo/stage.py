"""How the demo tells what a command does: in a few lines (`Brief`), or with all of its output (`Whole`)."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from runner.cancel import Cancel
from runner.errors import Interrupted, PlanrunError
from runner.events import Event, Progress, StepEnded, StepPlanned
from runner.model import Plan, State
from runner.report.colours import show
from runner.result import RunResult
from runner.words import one_line, seconds

Words = Mapping[str, Callable[[Mapping[str, Any]], str]]
"""Path of a step -> a function that says, of the outputs of the step, what it did."""


class Stage(Protocol):
    """Runs the commands of the demo and shows them. Each command raises PlanrunError if it fails."""

    verbose: bool

    def say(self, *lines: str) -> None: ...

    def validate(self, plan: str) -> None: ...

    def apply(self, plan: str, words: Words, *, why: str = "", summary: bool = True) -> None: ...

    def restore(self, plan: str, words: Words) -> None: ...

    def rollback(self, plan: str, words: Words, *, why: str = "") -> None: ...

    def look(self, verb: str, plan: str) -> None: ...


class Whole:
    """Types each command, and shows the plans and all that the commands print."""

    verbose = True

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel

    def say(self, *lines: str) -> None:
        print("", *(f"# {line}" if line else "" for line in lines), sep="\n", flush=True)

    def validate(self, plan: str) -> None:
        print(f"\n{Path(plan).read_text(encoding='utf-8').rstrip()}")
        self._run("validate", plan)

    def apply(self, plan: str, words: Words, *, why: str = "", summary: bool = True) -> None:
        self._run("apply", plan, "--yes", why=why)

    def restore(self, plan: str, words: Words) -> None:
        self.look("backups list", plan)
        self._run("backups", "restore", plan, "latest", "--yes")

    def rollback(self, plan: str, words: Words, *, why: str = "") -> None:
        self._run("rollback", plan, "--yes", why=why)

    def look(self, verb: str, plan: str) -> None:
        self._run(*verb.split(), plan)

    def _run(self, *args: str, why: str = "") -> None:
        from runner.cli import main

        self._cancel.check()
        show(f"\n{_command_line(*args, why=why)}", sys.stdout, flush=True)
        code = main(args)
        if code in (130, 143):
            raise Interrupted("interrupted", signal=code - 128)
        if code:
            raise PlanrunError(f"planrun {args[0]} ended with {code}", hint="planrun doctor", code="PR0607")


class Brief:
    """Shows of each command the summary of its diff, and a line for each step that the story has words for."""

    verbose = False

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel

    def say(self, *lines: str) -> None:
        show("\n".join(["", *lines]), sys.stdout, flush=True)

    def validate(self, plan: str) -> None:
        """Apply does the same first."""

    def apply(self, plan: str, words: Words, *, why: str = "", summary: bool = True) -> None:
        from runner import api

        self._command("apply", plan, "--yes", why=why)
        self._act(lambda **hooks: api.apply(_read(plan), **hooks), words, summary=summary)

    def restore(self, plan: str, words: Words) -> None:
        from runner import api
        from runner.backup import catalog
        from runner.cli.backups.chosen import plan_of_steps

        self._command("backups", "restore", plan, "latest", "--yes")
        loaded = _read(plan)
        made = plan_of_steps(loaded, "restore", "pg_restore", [{"from": str(catalog.find_good(loaded, "latest"))}])
        self._act(lambda **hooks: api.apply(made, **hooks), words, summary=False)

    def rollback(self, plan: str, words: Words, *, why: str = "") -> None:
        from runner import api

        self._command("rollback", plan, "--yes", why=why)
        self._act(lambda **hooks: api.rollback(_read(plan), **hooks), words, summary=False)

    def look(self, verb: str, plan: str) -> None:
        """What is to see is in the story's own lines."""

    def _command(self, *args: str, why: str = "") -> None:
        show(_command_line(*args, why=why), sys.stdout, flush=True)

    def _act(self, call: Callable[..., RunResult], words: Words, *, summary: bool) -> None:
        with _running() as line:
            listener = _Steps(words, line)

            def approve(diff: RunResult) -> bool:
                line("")
                if summary:
                    _show_summary(diff)
                return True

            result = call(approve=approve, on_event=listener.event, cancel=self._cancel)
        self._cancel.check()
        if result.exit_code:
            from runner.report.text import summary as ended

            show(ended(result), sys.stderr, flush=True)
            raise PlanrunError("a command of the demo failed, see above", hint="planrun demo -v", code="PR0607")


class _Steps:
    """Prints a line when a step ends, and shows on a terminal which one runs."""

    def __init__(self, words: Words, line: Callable[[str], None]) -> None:
        self._words, self._line = words, line
        self._began = time.monotonic()

    def event(self, event: Event) -> None:
        match event:
            case StepPlanned(planned=planned) if planned.settled is None:
                self._began = time.monotonic()
                self._line(f"  {planned.path} ...")
            case Progress(unit="line"):
                pass
            case Progress() as bar if bar.total:
                self._line(f"  {bar.path} ... {bar.what}: {bar.done:,} of {bar.total:,} {bar.unit}")
            case StepEnded(outcome=outcome) if outcome.state is State.OK and outcome.path in self._words:
                self._line("")
                took = f", in {seconds(outcome.seconds)}" if outcome.seconds >= 0.001 else ""
                show(
                    f"  {outcome.path}: ok, {self._words[outcome.path](outcome.outputs)}{took}", sys.stdout, flush=True
                )
            case _:
                pass


@contextmanager
def _running() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a text in the last line of a terminal, in place of the one before; "" clears it."""
    from runner.report.results import live_terminal

    live = live_terminal() and sys.stdout.isatty()

    def line(text: str) -> None:
        if live:
            print(f"\r\x1b[K{one_line(text)[:78]}", end="", flush=True)

    try:
        yield line
    finally:
        line("")


def _show_summary(diff: RunResult) -> None:
    from runner.report import summary

    # the clients of the demo hold locks for a moment, now and then
    found = replace(summary.summarize(diff), holders=())
    for line in summary.lines(found, way_back=diff.way_back):
        show(line, sys.stdout, flush=True)


def _read(plan: str) -> Plan:
    from runner import api

    return api.load_plan(plan)


def _command_line(*args: str, why: str = "") -> str:
    comment = f"    # {why}" if why else ""
    return f"$ planrun {shlex.join(args)}{comment}"
