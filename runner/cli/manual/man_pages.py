"""Format the manual as man pages (man(7) of groff). Pure, but for the pages of docs/ that it quotes.

The macros are those that every man program knows: TH, SH, TP, PP, EX, EE.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from runner.cli.manual.tree import PROGRAM, CommandPage, Option
from runner.language.reference import exit_codes
from runner.report import topics
from runner.version import __version__


def man_pages(pages: Iterable[CommandPage]) -> Mapping[str, str]:
    """Return the text of each man page by its file's name, `planrun-apply.1`."""
    found = list(pages)
    return {f"{file_stem(one)}.1": "".join(f"{line}\n" for line in _page(one, found)) for one in found}


def file_stem(one: CommandPage) -> str:
    return one.name.replace(" ", "-")


def _page(one: CommandPage, pages: list[CommandPage]) -> Iterator[str]:
    yield f'.TH {file_stem(one).upper()} 1 "" "{PROGRAM} {__version__}" "{PROGRAM} manual"'
    yield from (".SH NAME", rf"{escape(file_stem(one))} \- {escape(one.summary[0].lower() + one.summary[1:])}")
    yield from (".SH SYNOPSIS", bold(one.synopsis))
    yield ".SH DESCRIPTION"
    for paragraph in one.text:
        yield from (".PP", text(paragraph))
    if one.commands:
        yield from (".SH COMMANDS", *_definitions(one.commands.items()))
    yield from (".SH OPTIONS", *_definitions(map(_pair, one.options)))
    if not one.words:
        yield from _topics_and_variables()
    yield from (
        ".SH EXIT STATUS",
        *_definitions((str(code), doc) for code, doc in (exit_codes() | dict(one.codes)).items()),
    )
    yield from (".SH EXAMPLES", ".EX", *map(escape, one.examples), ".EE")
    yield from (".SH SEE ALSO", _see_also(one, pages))


def _topics_and_variables() -> Iterator[str]:
    yield from (".SH TOPICS", ".PP", text("`planrun help TOPIC` prints a page about one of these:"))
    yield from _definitions((name, topic.doc) for name, topic in topics.TOPICS.items())
    yield from (".SH ENVIRONMENT", *_definitions(topics.rows("environment.md")))


def _see_also(one: CommandPage, pages: Iterable[CommandPage]) -> str:
    around = [other for other in pages if other is not one and _are_near(one, other)]
    return ",\n".join(rf"\fB{escape(file_stem(other))}\fR(1)" for other in around)


def _are_near(one: CommandPage, other: CommandPage) -> bool:
    """Return whether the commands are parent and child, or children of one group that is not planrun itself."""
    parent = other.words[:-1] == one.words and bool(other.words)
    child = one.words[:-1] == other.words and bool(one.words)
    return parent or child or (len(one.words) > 1 and one.words[:-1] == other.words[:-1])


def _pair(option: Option) -> tuple[str, str]:
    return option.names, option.doc


def _definitions(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, doc in pairs:
        yield from (".TP", bold(name), text(doc))


def bold(words: str) -> str:
    return rf"\fB{escape(words)}\fR"


def text(markdown: str) -> str:
    """Return a sentence of Markdown as roff: `code` is bold, of a link only the words stay."""
    plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", markdown)
    parts = plain.split("`")
    return _line("".join(rf"\fB{_escape(part)}\fR" if at % 2 else _escape(part) for at, part in enumerate(parts)))


def escape(words: str) -> str:
    """Return words as roff that prints them as they are; `-` stays the character that a shell knows."""
    return _line(_escape(words))


def _escape(words: str) -> str:
    return words.replace("\\", r"\e").replace("-", r"\-").replace("\u00a0", r"\ ")


def _line(roff: str) -> str:
    """Return a line of text that groff does not take for a request, which begins with a dot or an apostrophe."""
    return rf"\&{roff}" if roff.startswith((".", "'")) else roff
