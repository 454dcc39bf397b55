"""Code that the commands share: options, loading a plan, listeners for events, errors as text or JSON, signals."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.cancel import Cancel
from runner.cli import Read
from runner.errors import Interrupted, PlanError, PlanrunError, TargetError
from runner.model import Plan
from runner.report.colours import show
from runner.words import json_text, one_line, safe, typeable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from runner.pseudo_terminal import Console
    from runner.result import RunResult

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("text", "json", "jsonl", "markdown")


Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


def offer(what: str) -> Complete:
    """Return what completes a word of a plan: steps, runs, sessions ... (runner/cli/candidates.py)."""

    def complete(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from runner.cli import candidates

        return candidates.find(what, context, incomplete)

    return complete


def plan_argument(function: F) -> F:
    return click.argument("plan", type=click.Path(dir_okay=False))(function)


def set_option(function: F) -> F:
    help_text = "Set a param of the plan (name=value) or one of its settings (backup.path=value). May be repeated."
    return click.option(
        "--set", "sets", multiple=True, metavar="NAME=VALUE", help=help_text, shell_complete=offer("settings")
    )(function)


def output_option(*formats: str) -> Callable[[F], F]:
    choice = click.Choice(formats or FORMATS)
    return click.option("-o", "--output", type=choice, default="text", show_default=True, help="Format of the output.")


def yes_option(function: F) -> F:
    help_text = "Answer every question with yes, without asking (for CI)."
    return click.option("-y", "--yes", is_flag=True, help=help_text)(function)


def read_plan(file: str, sets: Sequence[str], *, offline: bool = False) -> Plan:
    from runner.planfile import open_plan

    plan = open_plan(Path(file), sets=sets, env=os.environ, offline=offline)
    if (context := click.get_current_context(silent=True)) and isinstance(read := context.find_object(Read), Read):
        read.plan = plan
    return plan


def print_json(data: Any) -> None:
    print(json_text(data, indent=2))


def print_json_line(event: str, data: Mapping[str, Any]) -> None:
    """Print data, which has a format_version, as one more line of the event stream of `-o jsonl`."""
    head = {
        "format_version": data["format_version"],
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
    }
    print(json_text(head | dict(data)), flush=True)


def print_text(text: str, *, whole: bool = False) -> None:
    """Print the text of a command's result, which ends with its own line break. whole: without line breaks between
    words."""
    show(text, sys.stdout, end="", whole=whole)


def print_result(result: RunResult, output: str, *, verbose: bool = False, after: bool = False) -> None:
    """Print the result of a diff or a run; the events of jsonl were printed as they happened."""
    from runner.report import results

    text = results.render(result, output, verbose=verbose, after=after)
    if output == "text":
        print_text(text, whole=verbose and not after)
    else:
        print(text, end="")


# ------------------------------------------------------------------ errors


def show_error(exc: PlanrunError, args: Sequence[str], plan: Plan | None = None) -> int:
    """Print an expected error in the format that the command line asks for; return its exit code.

    plan: the plan that the command has read, if any.
    """
    from runner.cli import log

    exc.hint = with_file(exc.hint, args)
    if log.error(exc) and not wants_json(args):
        _print_report(exc, args, plan)
    elif wants_json(args):
        from runner.report.envelope import error_json

        print_failure(error_json(exc), args, plan)
    else:
        _print_report(exc, args, plan)
        _show_as_text(exc)
    return exc.exit_code


def _show_as_text(exc: PlanrunError) -> None:
    if isinstance(exc, PlanError):
        from runner.report import problems

        show(f"{problems.text(exc.problems)}\n{problems.count_text(exc.problems)}", sys.stderr)
    else:
        show(f"error: {exc}", sys.stderr)


def _print_report(exc: PlanrunError, args: Sequence[str], plan: Plan | None) -> None:
    """Print the error also in the format that the command line asks for, if its result would have been a page."""
    output = _wants(args)
    if output not in ("github", "junit", "markdown"):
        return
    from runner.report import github, junit, markdown
    from runner.report.findings import findings

    found = {_file(args) or exc.problems[0].where.file: exc.problems} if isinstance(exc, PlanError) else {}
    if output == "markdown":
        page = markdown.of_error(exc, plan.name if plan else "")
    elif output == "github":
        page = github.of_findings(findings(found, Path.cwd())) if found else github.of_error(exc)
    else:
        page = junit.of_problems(found, Path.cwd()) if found else junit.of_error(exc)
    print(page, end="")


def wants_json(args: Sequence[str]) -> bool:
    return _wants(args) in ("json", "jsonl")


def print_failure(error: Mapping[str, Any], args: Sequence[str], plan: Plan | None = None) -> None:
    """Print the error of a command as one JSON document or as the last line of a stream."""
    from runner.report.envelope import failure

    databases: Sequence[str] = ()
    if plan is not None:
        with contextlib.suppress(PlanrunError):  # the error may be about the connections
            databases = about(plan, state="failed")["databases"]
    data = failure(error, plan=plan.name if plan else None, databases=databases)
    if _wants(args) == "json":
        print_json(data)
    else:
        print_json_line("error", data)


def with_file(hint: str, args: Sequence[str]) -> str:
    """Return a hint whose commands name the plan's file of this command line."""
    file = _file(args)
    return typeable(hint, file and shlex.quote(file))


def _file(args: Sequence[str]) -> str:
    """Return the plan file on a command line, "" if no argument looks like one."""
    plans = (arg for arg in args if arg.endswith((".yml", ".yaml")) and not arg.startswith("-") and "=" not in arg)
    return next(plans, "")


def _wants(args: Sequence[str]) -> str:
    for before, arg in zip(("", *args), args, strict=False):
        if before in ("-o", "--output"):
            return arg
        for head in ("--output=", "-o"):
            if arg.startswith(head) and len(arg) > len(head):
                return arg[len(head) :].lstrip("=")
    return "text"


# ------------------------------------------------------------------ signals and questions

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}


class Terminal:
    """The person at the terminal, if there is one. Ctrl-C ends a question, and cancels the run as at any other time.

    `asking`: a question is open, so a signal needs no message about what it stops.
    """

    def __init__(self, cancel: Cancel, *, yes: bool = False) -> None:
        self.cancel, self.yes = cancel, yes
        self.asking = False
        self.pause: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self.restore: Callable[[], object] = bool
        self._console_lock = threading.Lock()

    def ask(self, question: str, expect: str = "") -> bool:
        """Ask a question. Raises PlanrunError if nobody can answer and --yes was not given."""
        if self.yes:
            return True
        from runner.cli import log

        if not sys.stdin.isatty() or log.is_on():
            raise PlanrunError(
                f"this question needs an answer, but there is no terminal: {question}",
                hint="read the diff, then run again with --yes",
                code="PR0511",
            )
        self.asking = True
        try:
            with self.pause():
                answer = self._answer(question, expect)
            self.cancel.check()  # a key that was pressed after Ctrl-C is not a yes
            return answer
        finally:
            self.asking = False

    def answer(self, prompt: str, default: str | None) -> str:
        """Return the line that a person types after a prompt; after Enter alone, the default if there is one."""
        shown = f"{prompt} [{default}]: " if default else f"{prompt}: "
        self.asking = True
        try:
            while not (typed := self._line(safe(shown)).strip()) and default is None:
                print("Error: this needs an answer", file=sys.stderr)
            self.cancel.check()
            return typed or default or ""
        finally:
            self.asking = False

    @contextlib.contextmanager
    def open_console(self) -> Iterator[Console | None]:
        """Yield the terminal for a program of the plan; None if there is none or another program uses it.

        A job in the background has none: it would be stopped when it reads (POSIX, XBD 11.1.4).
        """
        from runner.pseudo_terminal import Console, keep_mode

        if not _has_terminal() or not self._console_lock.acquire(blocking=False):
            yield None
            return
        try:
            with self.pause(), keep_mode(sys.stdin.fileno()) as self.restore:
                yield Console(keys=sys.stdin.fileno(), screen=sys.stderr.fileno())
        finally:
            self._console_lock.release()

    def _answer(self, question: str, expect: str) -> bool:
        question = safe(question)
        if expect:
            return self._line(f"{question}\nType {expect!r} to go on: ") == expect
        while (answer := self._line(f"{question} [y/N]: ").strip().lower()) not in _ANSWERS:
            print("Error: invalid input", file=sys.stderr)
        return _ANSWERS[answer]

    def _line(self, prompt: str) -> str:
        self.cancel.check()  # a signal came before the question was shown
        print(prompt, end="", file=sys.stderr, flush=True)
        typed = ""
        try:
            typed = read_line(self.cancel)
        except KeyboardInterrupt:
            raise click.Abort from None
        finally:
            if not typed.endswith("\n"):
                print(file=sys.stderr)
        if not typed:
            raise click.Abort
        return typed.removesuffix("\n")


def _has_terminal() -> bool:
    """Return whether stdin and stderr are a terminal, and this process may read from it."""
    from runner.report.results import live_terminal

    if not (sys.stdin.isatty() and live_terminal()):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # not the terminal of this process session
        return False


def read_line(cancel: Cancel) -> str:
    """Return a line of stdin with its line break, "" at its end. Raises the reason within 0.1 s if cancelled.

    A blocking read is not enough: Python runs a signal handler between two of its own instructions, and a
    signal that arrives after the last of them and before the system call would be seen only after a line was typed.
    """
    try:
        terminal = sys.stdin.fileno()
    except (OSError, ValueError, AttributeError):  # not a file
        return sys.stdin.readline()
    typed = b""
    while not typed.endswith(b"\n"):
        cancel.check()
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                more = os.read(terminal, 4096)
            except OSError:  # the terminal was closed
                more = b""
            if not more:
                break
            typed += more
    return typed.decode(sys.stdin.encoding or "utf-8", "replace")


def about(plan: Plan, *, state: str, run: str | None = None) -> dict[str, Any]:
    """Return the fields with which the JSON of each command begins."""
    from runner import api
    from runner.report.envelope import envelope

    return envelope(state=state, plan=plan.name, run=run, databases=api.databases(plan, env=os.environ))


def database_lines(plan: Plan) -> str:
    """Return the lines for the top of the output: the plan's databases, and where each connection was defined."""
    from runner import api

    return "".join(f"{one_line(line)}\n" for line in api.databases(plan, env=os.environ))


@contextlib.contextmanager
def progress_on_signal(ask: Callable[[], object]) -> Iterator[None]:
    """Call `ask` when SIGUSR1 arrives, or SIGINFO (Ctrl-T on macOS and the BSDs), which must take no lock."""

    def handle(number: int, frame: FrameType | None) -> None:
        ask()

    names = ("SIGUSR1", "SIGINFO")
    heard = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


ONE_SIGNAL = 0.3
"""Seconds within which a second signal counts as the first: `timeout` sends it to the process and to its group."""


@contextlib.contextmanager
def interruptible(cancel: Cancel, terminal: Terminal) -> Iterator[None]:
    """On the first Ctrl-C or SIGTERM, stop the running statement or program and roll back; on the second, quit at once.

    While hooks run or recipients are told, after the end of the run, the next one stops these.

    A signal that was ignored at the start stays ignored, as with the shell's own commands: scripts start
    `planrun ... &` so that a Ctrl-C meant for another program does not reach it (POSIX, XCU 2.11).
    """
    began: float | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal began
        name = signal.Signals(number).name
        reason = Interrupted(f"interrupted by {name}", signal=number)
        if began is not None and time.monotonic() - began <= ONE_SIGNAL:
            return
        if cancel.is_spent:  # the server rolls back; children end with us
            terminal.restore()
            os._exit(reason.exit_code)
        began = time.monotonic()
        last = cancel.has_stage
        cancel.cancel(reason)
        if not terminal.asking:
            what = "stopping what follows the run" if last else "stopping and rolling back what is running"
            with contextlib.suppress(RuntimeError):  # it may interrupt another line on the same stream
                print(f"\n{name}: {what}; send it again to quit at once", file=sys.stderr)

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    except TargetError as exc:
        if cancel.reason is not None and exc.category == "connection":  # planrun did not wait for the server any longer
            raise cancel.reason from exc
        raise
    finally:
        for number, old in before.items():
            signal.signal(number, old)
