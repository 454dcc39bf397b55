"""Lay the YAML text of a plan or a template out in one form: indentation, spaces, blank lines, comments. Pure.

It works on libyaml's tokens, which are those that `source.py` reads. Everything between two tokens is white space and
comments; only the white space is written again. So no comment, quote, anchor or style can get lost, lines break where
the author broke them, and the text is parsed in only one way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from runner.errors import PlanError
from runner.language.page import Page
from runner.language.scalar_lines import block_scalar, flow_scalar
from runner.language.source import decode, parse

INDENT = 2


class LayoutBug(Exception):
    """A formatted text would mean something else, or would change if formatted again: a bug in planrun."""


def layout(source: bytes | str, file: str) -> str:
    """Return the text of a plan or template in its one form.

    file: its name in messages. Raises PlanError with the problems of reading the text, and LayoutBug
    if the result does not mean the same, lacks a comment, or is not final.
    """
    text = _plain_breaks(decode(source, file))
    before = parse(source, file).data
    made, comments = _lay_out(text)
    if made != text:
        _check(made, before, comments, file)
    return made


def _check(made: str, before: Any, comments: list[str], file: str) -> None:
    try:
        data = parse(made, file).data
    except PlanError as exc:
        raise LayoutBug("the result would be invalid") from exc
    if repr(data) != repr(before):  # it distinguishes true, 1 and 1.0, and the order of keys
        raise LayoutBug("the meaning would change")
    again, kept = _lay_out(made)
    if kept != comments:
        raise LayoutBug("a comment would change")
    if again != made:
        raise LayoutBug("formatting twice would change it again")


def _plain_breaks(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lay_out(text: str) -> tuple[str, list[str]]:
    """Return the new text and all its comments."""
    page = Page()
    walk = _Walk(text, page)
    for token in _tokens(text):
        walk.take(token)
    return page.text(), page.comments


_Scanner: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


def _tokens(text: str) -> Iterator[Any]:
    get = _Scanner(text).get_token
    while (token := get()) is not None:
        yield token


# ------------------------------------------------------------------ the way through the tokens


@dataclass(frozen=True)
class _Level:
    """A block mapping or sequence that is open: the column where its lines began, and where they begin now.

    bare: a sequence whose dashes were in the column of its key; libyaml has no tokens for its begin and end.
    """

    old: int
    new: int
    sequence: bool
    bare: bool = False


@dataclass
class _Flow:
    """A bracket or brace that is open: the columns of lines inside it, None until known, and of the closing one."""

    content: int | None
    closing: int


_OPENING = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_BLOCK_START = (yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken)
_EXPECTING = (yaml.ValueToken, yaml.BlockEntryToken, yaml.KeyToken, yaml.AnchorToken, yaml.TagToken)
"""A value follows these tokens, or nothing."""
_OF_LEVEL = (yaml.BlockEntryToken, yaml.KeyToken, yaml.ValueToken)
"""A line that begins with one of these is in the column of its level, as is one that begins with a key."""
_MARGIN = (yaml.DirectiveToken, yaml.DocumentStartToken, yaml.DocumentEndToken, yaml.StreamEndToken)
_BLANKS = " \t\ufeff"  # libyaml skips a byte order mark at the beginning of any line
_BREAK = re.compile("[\n\x85\u2028\u2029]")


class _Walk:
    """Takes the tokens one after another, and writes each with the text between it and the previous one."""

    def __init__(self, text: str, page: Page) -> None:
        self.text, self.page = text, page
        self.levels: tuple[_Level, ...] = ()
        self.flows: list[_Flow] = []
        self.is_key = False  # the next token is a key, or a property of one
        self.line_column = 0  # of the first token of the line, without dashes
        # the last token, the levels that it was in, where it ended, and whether that was the beginning of a line
        self.last: Any = None
        self.before: tuple[_Level, ...] = ()
        self.end, self.fresh = 0, True

    def take(self, token: Any) -> None:
        """Take the next token; those without text only open and close levels."""
        if isinstance(token, _BLOCK_START):
            self.open(token.start_mark.column, sequence=isinstance(token, yaml.BlockSequenceStartToken))
        elif isinstance(token, yaml.BlockEndToken):
            self.close_bare()
            self.levels = self.levels[:-1]
        elif isinstance(token, yaml.KeyToken):
            self.close_bare()
            if token.start_mark.index == token.end_mark.index:
                self.is_key = True
            else:
                self.put(token)
        elif not isinstance(token, yaml.StreamStartToken):
            if isinstance(token, yaml.BlockEntryToken) and not self.levels[-1].sequence:
                self.open(self.levels[-1].old, sequence=True, bare=True)
            self.put(token)

    def open(self, old: int, *, sequence: bool, bare: bool = False) -> None:
        self.levels = (*self.levels, _Level(old, self.value_column, sequence, bare))

    def close_bare(self) -> None:
        if not self.flows and self.levels and self.levels[-1].bare:
            self.levels = self.levels[:-1]

    @property
    def value_column(self) -> int:
        """The column of a value of the innermost level that begins a line."""
        return self.levels[-1].new + INDENT if self.levels else 0

    def put(self, token: Any) -> None:
        column = self.column(token)
        between = self.text[self.end : token.start_mark.index]
        if not self.joins(token, between):
            self.gap(token, between, column)
        if not isinstance(token, yaml.StreamEndToken):
            self.write(token, column)
        self.last, self.before, self.is_key = token, self.levels, False

    def column(self, token: Any) -> int:
        """Return the column of a token that begins a line."""
        if isinstance(token, _MARGIN):
            return 0
        if self.flows:
            flow = self.flows[-1]
            if flow.content is None:
                flow = self.broken_flow
            return flow.closing if isinstance(token, _CLOSING) else flow.content or 0
        return self.value_column if self.is_value(token) else self.levels[-1].new

    @property
    def broken_flow(self) -> _Flow:
        """A flow collection whose opening bracket ends its line."""
        return _Flow(self.line_column + INDENT, self.line_column)

    def is_value(self, token: Any) -> bool:
        return not self.is_key and not isinstance(token, (*_OF_LEVEL, *_MARGIN))

    def joins(self, token: Any, between: str) -> bool:
        """Return whether a token moves up to the line of the dash before it."""
        return (
            isinstance(self.last, yaml.BlockEntryToken)
            and "#" not in between
            and (self.is_value(token) or len(self.levels) > len(self.before))
        )

    # -------------------------------------------------------------- between two tokens

    def gap(self, token: Any, between: str, column: int) -> None:
        """Write the comments and the line breaks before a token whose line begins at `column`."""
        parts = _BREAK.split(between)
        if len(parts) > 1 and self.flows and self.flows[-1].content is None:
            self.flows[-1] = self.broken_flow
        for number, part in enumerate(parts):
            text = part.strip(_BLANKS)
            offset = len(part) - len(part.lstrip(_BLANKS))
            behind = number == 0 and not self.fresh
            if text and behind:
                self.page.comment(text, self.old_column(self.end + offset))
            elif text:
                self.page.comment(text, self.comment_column(token, offset, column))
            elif number < len(parts) - 1:
                self.page.end_line(blank=not behind)

    def old_column(self, index: int) -> int:
        return index - self.text.rfind("\n", 0, index) - 1

    def comment_column(self, token: Any, old: int, column: int) -> int:
        """Return the new column of a comment on its own line, which began at `old`.

        It belongs to the next token, or to one of the levels that end before it.
        """
        if self.flows:
            return self.flows[-1].content or 0
        if self.is_value(token) or len(self.levels) > len(self.before):
            return column
        if isinstance(self.last, _EXPECTING) and self.before and old > self.before[-1].old:
            return self.before[-1].new + INDENT
        nearest = self.levels[-1].old if self.levels else -1
        for level in self.before[len(self.levels) :]:
            if nearest < level.old <= old:
                nearest, column = level.old, level.new
        return column

    # -------------------------------------------------------------- tokens

    def write(self, token: Any, column: int) -> None:
        page, space = self.page, _space(self.last, token)
        at = column if page.at_start else page.column + len(space)
        if page.at_start or isinstance(self.last, yaml.BlockEntryToken):
            self.line_column = at
        if self.flows and self.flows[-1].content is None:
            self.flows[-1].content = at
        start, self.end = token.start_mark.index, token.end_mark.index
        self.fresh = isinstance(token, yaml.ScalarToken) and token.style in ("|", ">")
        if self.fresh:
            self.write_block(start, column, space)
            return
        text = self.text[start : self.end]
        if isinstance(token, yaml.ScalarToken) and "\n" in text:
            text = flow_scalar(text, token.style, self.continuation)
        page.write(text, column, space)
        if isinstance(token, _OPENING):
            self.flows.append(_Flow(None, at))
        elif isinstance(token, _CLOSING):
            self.flows.pop()

    @property
    def continuation(self) -> int:
        """The column of the second line of a scalar."""
        inside = self.flows[-1].content if self.flows else None
        return max(self.value_column, INDENT) if inside is None else inside + INDENT

    def write_block(self, start: int, column: int, space: str) -> None:
        if self.end < len(self.text):  # that includes the indentation of the next line
            self.end = self.text.rfind("\n", 0, self.end) + 1
        level = self.levels[-1].old if self.levels else 0
        made = block_scalar(self.text[start : self.end], level, max(self.value_column, INDENT))
        self.page.write(made.header, column, space)
        if made.comment:
            self.page.comment(made.comment, self.old_column(start + made.offset))
        self.page.end_line()
        self.page.lines += made.lines
        self.page.end_line(blank=made.blank)


def _space(last: Any, token: Any) -> str:
    """Return the space between two tokens of one line."""
    if isinstance(token, yaml.ValueToken):
        return " " if isinstance(last, yaml.AliasToken | yaml.TagToken) else ""  # a name may contain a colon
    if isinstance(token, (yaml.FlowEntryToken, *_CLOSING)):
        return " " if isinstance(last, yaml.ValueToken | yaml.TagToken) else ""
    return "" if last is None or isinstance(last, _OPENING) else " "
