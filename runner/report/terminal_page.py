"""Format a page of docs/ for a terminal, as text without colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import indent
from typing import ClassVar

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, TableElement
from rich.table import Table
from rich.text import Text


class _PlainHeading(Heading):
    """A heading on the left, underlined if it is the page's."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(str(self.text))
        if self.tag == "h1":
            yield Text("=" * len(str(self.text)))


class _WholeCode(CodeBlock):
    """A block of code whose lines are never broken: a person copies them."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(indent(str(self.text).rstrip(), " " * 4), no_wrap=True, overflow="ignore")


class _PlainTable(TableElement):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            if isinstance(table, Table):
                table.box, table.show_edge = box.ASCII2 if options.ascii_only else box.SIMPLE, False
            yield table


class _Page(Markdown):
    elements: ClassVar = {
        **Markdown.elements,
        "heading_open": _PlainHeading,
        "code_block": _WholeCode,
        "fence": _WholeCode,
        "table_open": _PlainTable,
    }


_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n", re.MULTILINE)
_BLOCK = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def terminal_page(markdown: str, topics: Mapping[str, str], width: int) -> str:
    """Return a page of Markdown as text of this many columns; lines of code may be longer.

    topics: the topics of `planrun help` by the page (`guards.md`) that each prints; a link to such a page names it.
    """
    console = Console(width=width, color_system=None, force_terminal=False, highlight=False)
    parts = _BLOCK.split(_IMAGE.sub("", markdown))
    text = "".join(part if at % 2 else _prose(part, topics) for at, part in enumerate(parts))
    with console.capture() as caught:
        console.print(_Page(text, hyperlinks=False), crop=False)
    return "".join(f"{line.rstrip()}\n" for line in caught.get().splitlines())


def _prose(text: str, topics: Mapping[str, str]) -> str:
    """Return Markdown whose links name what to type (another topic) or the address; the marks of `code` stay."""

    def words(found: re.Match[str]) -> str:
        target = found[2]
        if target.startswith("http"):
            return f"{found[1]} ({target})"
        name = topics.get(target.removeprefix("../").partition("#")[0])
        return f"{found[1]} (`planrun help {name}`)" if name else found[1]

    return _CODE.sub(r"`` `\1` ``", _LINK.sub(words, text))
