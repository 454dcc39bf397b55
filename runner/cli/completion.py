"""planrun completion: print the script with which a shell completes commands, options, files and words of a plan."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

VARIABLE = "_PLANRUN_COMPLETE"


def _script(shell: str) -> str:
    """Return the script of a shell, with %(...)s where click puts names."""
    return Path(__file__).with_suffix(f".{shell}").read_text(encoding="utf-8")


def _with_option(items: list[CompletionItem[str]], incomplete: str) -> list[CompletionItem[str]]:
    """Return the words for `--until=st`: in zsh and fish, a word is replaced as a whole."""
    option, equals, _ = incomplete.partition("=")
    if equals and option.startswith("--"):
        for one in items:
            one.value = f"{option}={one.value}"
    return items


class _Bash(BashComplete):
    """Of the whole line: bash itself cuts words at = and :, which belong to what is typed here."""

    source_template = _script("bash")

    def source(self) -> str:
        return ShellComplete.source(self)  # without a test of bash's version: the script works with that of macOS

    def get_completion_args(self) -> tuple[list[str], str]:
        words = split_arg_string(os.environ.get("COMP_WORDS", ""))[1:]
        incomplete = words.pop() if words and not os.environ["COMP_WORDS"][-1:].isspace() else ""
        return words, incomplete


class _Zsh(ZshComplete):
    source_template = _script("zsh")

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        return _with_option(super().get_completions(args, incomplete), incomplete)


class _Fish(FishComplete):
    source_template = _script("fish")

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        return _with_option(super().get_completions(args, incomplete), incomplete)


CLASSES: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def complete(group: click.Group) -> int:
    """Answer a completion script. Nothing but offers is printed: an error would stand in the line that is typed."""
    for name, shell in CLASSES.items():
        add_completion_class(shell, name)
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        contextlib.suppress(Exception, SystemExit),
    ):
        group.main([], prog_name="planrun", complete_var=VARIABLE, standalone_mode=False)
    sys.stdout.flush()
    return 0


@click.command(
    epilog='\b\nExamples:\n  eval "$(planrun completion bash)"                              # in ~/.bashrc\n'
    '  eval "$(planrun completion zsh)"                               # in ~/.zshrc, after compinit\n'
    "  planrun completion fish > ~/.config/fish/completions/planrun.fish"
)
@click.argument("shell", type=click.Choice(list(CLASSES)))
def command(shell: str) -> int:
    """Print the completion script for a shell: commands, options, files, and the steps, runs and sessions of a plan."""
    from runner.cli import group

    print(CLASSES[shell](group, {}, "planrun", VARIABLE).source())
    return 0
