"""The command line: the only package that reads argv, prints and exits. One module per command, imported when used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from runner import __version__
from runner.errors import PlanrunError

click.UsageError.exit_code = 64  # 2 belongs to `diff --detailed-exitcode`

COMMANDS = {
    "validate": "Check plans offline: YAML, schema, guards, templates, SQL syntax.",
    "render": "Show the ordered steps with their final SQL and argv, as far as can be known offline.",
    "diff": "Show what apply would do, reading the real database and changing nothing.",
    "apply": "Show the diff, ask, and run the plan.",
    "rollback": "Run the plan's rollback steps, after showing their own diff.",
    "status": "Say where the last run of a plan stands and what to type next.",
    "history": "List the runs of a plan.",
    "explain": "Say why a step of a run ran, was skipped or failed.",
    "backups": "List, verify, restore and prune backup sessions.",
    "demo": "Run the main job end to end on an embedded PostgreSQL with sample data.",
    "init": "Write a first plan.",
    "doctor": "Say what is wrong with this machine or database, and what to type.",
    "graph": "Print the plan's steps as Mermaid text.",
    "schema": "Print the JSON schema of a plan.",
    "reference": "Print the reference page of the plan language.",
    "completion": "Print the shell completion script for bash, zsh or fish.",
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
    epilog="Start with: planrun demo, then: planrun init",
)
@click.version_option(__version__, prog_name="planrun")
def group() -> None:
    """PostgreSQL operations as YAML plans: reviewed in a pull request, proved by a diff, run with guards."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code; prints every expected error with its next command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an ASCII terminal shows a ? where it has no letter, not a traceback
            stream.reconfigure(errors="replace")
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _code(group.main(args, prog_name="planrun", standalone_mode=False))
    except click.exceptions.Abort:
        print("interrupted", file=sys.stderr)
        return 130
    except click.ClickException as exc:
        exc.show()
        return 64 if isinstance(exc, click.UsageError) else exc.exit_code
    except PlanrunError as exc:
        from runner.cli.common import show_error

        return show_error(exc, args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has gone; what it wanted was printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as exc:
        from runner.cli.bug import report_bug

        return report_bug(exc, args)


def _code(result: object) -> int:
    return result if isinstance(result, int) else 0
