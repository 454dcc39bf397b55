"""The command line: the only package that reads argv, prints and exits. One module per command, imported when used."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from runner import __version__
from runner.errors import PlanrunError
from runner.words import PLAN

if TYPE_CHECKING:
    from runner.model import Plan

click.UsageError.exit_code = 64  # 2 belongs to `diff --detailed-exitcode` and `fmt --check`

COMMANDS = {
    "validate": "Check plans offline: YAML, schema, guards, templates, SQL syntax.",
    "lint": "Report SQL of plans that locks tables for longer than it must.",
    "fmt": "Lay plans and templates out in one form: indentation, spaces, blank lines.",
    "render": "Show the ordered steps with their final SQL and argv, as far as they are known offline.",
    "diff": "Show what apply would do; read the real database and change nothing.",
    "snapshot": "Write structure and sizes of the plan's databases to a file, for diffs without a database.",
    "compare": "Show what one version of a plan does otherwise than another, or than a revision of git.",
    "show": "Print a diff that was saved with diff --out, without a database.",
    "rehearse": "Run the plan and its rollback on scratch copies of its databases.",
    "apply": "Show the diff, ask, and run the plan.",
    "rollback": "Show the diff of the plan's rollback steps, ask, and run them.",
    "abort": "Remove what an unfinished run left in the database.",
    "status": "Show the state of a plan's last run and what to type next.",
    "notify": "List who is told of the plan's runs, or send each of them a test message.",
    "history": "List the runs of a plan.",
    "report": "Write the report of a run, or an index of all runs and sessions, as an HTML page.",
    "metrics": "Write metrics of plans for Prometheus, from their journals and sessions.",
    "explain": "Explain a step of a run, the code of an error, or a word of a plan.",
    "backups": "List, verify, restore and prune backup sessions and backup sets.",
    "demo": "Run the main jobs end to end on an embedded PostgreSQL with sample data.",
    "test": "Run the cases of plans on a throw-away server.",
    "init": "Write a first plan.",
    "doctor": "Report problems with this machine or database, and what to type.",
    "graph": "Print the plan's steps as Mermaid text.",
    "schema": "Print the JSON schema of a plan.",
    "reference": "Print the reference page of the plan language.",
    "completion": "Print the shell completion script for bash, zsh or fish.",
    "help": "Print the help of a command, or a page about a topic such as guards.",
}


class _Lazy(click.Group):
    """`--help` lists the commands from the table above; a command's module is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"runner.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from runner.guard import nearest

            raise click.UsageError(f"No such command {args[0]!r}; {nearest(args[0], list(COMMANDS))}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "PLANRUN",
        "max_content_width": 110,
    },
    epilog="Start with: planrun demo, then: planrun init. Topics: planrun help",
)
@click.version_option(__version__, prog_name="planrun")
def group() -> None:
    """Run PostgreSQL operations from YAML plans: review them in a pull request, see a diff, run them with guards."""


class _TolerantOutput(io.FileIO):
    lost = ""
    """Why a part of the output could not be written; "" if only the reader closed the pipe."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
        except OSError as exc:
            self.lost = exc.strerror or type(exc).__name__
            return len(data)


def tolerant_stream(stream: TextIO) -> TextIO:
    """Return a stream whose reader may close the pipe, as `head` does: the rest is discarded, and no run stops
    half-way.

    A run continues also if the disk of the log is full; `main` reports that at the end.
    An ASCII terminal shows a ? for other characters.
    """
    try:
        raw = _TolerantOutput(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError, AttributeError):  # closed, or not a file
        return stream
    stream.flush()
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffered, encoding=stream.encoding, errors="replace", line_buffering=bool(stream.line_buffering)
    )


def _survive_usr1() -> None:
    """Let SIGUSR1 do nothing where nothing answers it: unheard, it would end planrun, at work or about to begin."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code; prints every expected error with its next command."""
    args = list(sys.argv[1:] if argv is None else argv)
    _survive_usr1()
    with (
        contextlib.redirect_stdout(tolerant_stream(sys.stdout)),
        contextlib.redirect_stderr(tolerant_stream(sys.stderr)),
    ):
        try:
            code = _run(args)
        finally:
            sys.stdout.flush()
            if log := sys.modules.get("runner.cli.log"):
                log.finish()
            sys.stderr.flush()
        return code or _report_lost_output(args)


def _report_lost_output(args: Sequence[str]) -> int:
    """Run the command line; return 1 if a result could not be written completely, so that nobody relies on a part of
    it."""
    lost = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "lost", "")
    if lost:
        print(f"error: the output is incomplete: {lost}", file=sys.stderr)
        from runner.cli.common import with_file

        look = with_file(f"planrun status {PLAN}", args)
        print(f"  hint: only the output is lost: `{look}` shows what was done", file=sys.stderr)
        sys.stderr.flush()
    return 1 if lost else 0


@dataclass
class Read:
    """The plan that a command line has read, for the errors that end it."""

    plan: Plan | None = None


def _run(args: list[str]) -> int:
    if "_PLANRUN_COMPLETE" in os.environ:
        from runner.cli import completion

        return completion.complete(group)
    read = Read()
    try:
        return _code(group.main(args, prog_name="planrun", standalone_mode=False, obj=read))
    except click.exceptions.Abort:
        print("interrupted", file=sys.stderr)
        return 130
    except click.ClickException as exc:
        from runner.cli import common

        code = 64 if isinstance(exc, click.UsageError) else exc.exit_code
        if common.wants_json(args):
            wrong = {"message": exc.format_message(), "where": None, "hint": "", "code": "PR0606", "exit_code": code}
            common.print_failure(wrong, args)
        else:
            exc.show()
            _show_plans(exc)
        return code
    except PlanrunError as exc:
        from runner.cli import common
        from runner.redact import Redactor

        return common.show_error(Redactor({}, os.environ).error(exc), args, read.plan)
    except KeyboardInterrupt:
        return 130
    except Exception as exc:
        from runner.cli.bug import report_bug

        return report_bug(exc, args)


def _show_plans(exc: click.ClickException) -> None:
    """Say which plans there are, if the argument of a plan is missing or wrong."""
    if isinstance(exc, click.BadParameter) and exc.param and exc.param.name in ("plan", "plans"):
        from runner.nearby import plans_here
        from runner.words import one_line

        print(f"  hint: {one_line(plans_here())}", file=sys.stderr)


def _code(result: object) -> int:
    return result if isinstance(result, int) else 0
