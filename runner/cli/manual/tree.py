"""Read what click knows of each command: its synopsis, text, options and examples, as data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

PROGRAM = "planrun"

SPECIAL_CODES: Mapping[str, Mapping[int, str]] = {
    "apply": {3: "with `--keep-going`: some items of a `for_each` failed, the others are done"},
    "backups list": {6: "a session is damaged"},
    "backups verify": {6: "a backup does not match its checksums, cannot be read, or does not restore"},
    "compare": {2: "with `--detailed-exitcode`: the versions differ in what they do"},
    "diff": {2: "with `--detailed-exitcode`: there is something to do"},
    "doctor": {1: "a problem was found", 4: "a database cannot be reached"},
    "fmt": {2: "with `--check`: a file would change"},
    "lint": {1: "a finding was reported", 5: "a plan is invalid"},
    "rehearse": {1: "a step of the rehearsal failed"},
    "test": {1: "a case failed"},
    "validate": {5: "a plan has a problem"},
}
"""What an exit code says about one command, where that is more than the table of exit codes says."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option as its help names it (`-o, --output [text|json]`), and what it does."""

    names: str
    doc: str


@dataclass(frozen=True, kw_only=True)
class CommandPage:
    """What the manual says of a command.

    words: the words after `planrun`; none for planrun itself. text: paragraphs. commands: the commands of a group, each
    with what it does. codes: exit codes that say something about this command.
    """

    words: tuple[str, ...]
    synopsis: str
    text: tuple[str, ...]
    options: tuple[Option, ...]
    examples: tuple[str, ...]
    commands: Mapping[str, str]
    codes: Mapping[int, str]

    @property
    def name(self) -> str:
        return " ".join((PROGRAM, *self.words))

    @property
    def summary(self) -> str:
        """The first sentence, without its full stop."""
        return re.split(r"[.:](?:\s|$)", self.text[0], maxsplit=1)[0]


def command_pages(group: click.Group) -> Iterator[CommandPage]:
    """Yield the page of the group itself, then those of its commands at any depth."""
    yield from _pages(group, click.Context(group, info_name=PROGRAM, **group.context_settings), ())


def _pages(command: click.Command, context: click.Context, words: tuple[str, ...]) -> Iterator[CommandPage]:
    yield _page(command, context, words)
    for name, child in _children(command, context):
        yield from _pages(child, click.Context(child, info_name=name, parent=context), (*words, name))


def _children(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        if (child := command.get_command(context, name)) and not child.hidden:
            yield name, child


def _page(command: click.Command, context: click.Context, words: tuple[str, ...]) -> CommandPage:
    records = [param.get_help_record(context) for param in command.get_params(context)]
    return CommandPage(
        words=words,
        synopsis=" ".join((PROGRAM, *words, *command.collect_usage_pieces(context))),
        text=paragraphs(command.help or ""),
        options=tuple(Option(names=record[0], doc=record[1]) for record in records if record and record[1]),
        examples=tuple(_examples(command.epilog or "")),
        commands={name: _first_sentence(child) for name, child in _children(command, context)},
        codes=SPECIAL_CODES.get(" ".join(words), {}),
    )


def paragraphs(text: str) -> tuple[str, ...]:
    """Return the paragraphs of a help text, each on one line."""
    return tuple(" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.cleandoc(text)) if part.strip())


def _first_sentence(command: click.Command) -> str:
    return re.split(r"(?<=\.)\s", paragraphs(command.help or "")[0], maxsplit=1)[0]


def _examples(epilog: str) -> Sequence[str]:
    """Return the commands of an epilog: after `Example:`, or below `Examples:` with one command a line."""
    head, _, rest = epilog.replace("\b\n", "").partition(":")
    if head in ("Example", "Examples"):
        return [line.strip() for line in rest.strip().splitlines()]
    return re.findall(r"planrun [a-z]+", epilog)
