"""A check that goes beyond quoting: each value in a SQL text must consist of whole tokens of PostgreSQL's scanner.

It finds `'{{ v }}'`, `"{{ v|ident }}"`, values in comments, `x{{ n }}`, and a value that closes the `$$` around it.
If a value starts where a token starts and ends where one ends, the scanner reads it as it would alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from runner.safesql.syntax import COMMENTS, BadSql, Token, tokens

MAX_NESTING = 4
_DOLLARS = re.compile(r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$")
# A quote after an odd number of backslashes: with standard_conforming_strings off the text continues after it.
_ESCAPED_QUOTE = re.compile(r"(?<!\\)(?:\\\\)*\\'")
_LONG = 20_000
"""Characters of a text that is not kept."""

_GLUE = re.compile(r"[\w$'\"]")
_QUOTES = "if there are quotes around a value, remove them: planrun writes them"
_SQL_LANGUAGES = ("sql", "plpgsql")


class Span(NamedTuple):
    """The place of a value in a text, in characters; `edge` is its start including the space that was put before it."""

    start: int
    end: int
    edge: int


def check(text: str, values: Sequence[Span], nesting: int = 0) -> None:
    """Raise BadSql at the wrong value or text unless every value consists of whole tokens."""
    if not values:
        return
    if len(text) > _LONG:
        _check(text, tuple(values), nesting)
    else:
        _check_once(str.__str__(text), tuple(values), nesting)


def _check(text: str, values: tuple[Span, ...], nesting: int) -> None:
    found = _scan(text)
    _refuse_escaped_quotes(text, found, {span.start for span in values})
    starts, ends = {t.start for t in found}, {t.end for t in found}
    bodies: dict[Token, list[Span]] = {}
    for span in values:
        _refuse_glue(text, span)
        if span.start not in starts or span.end not in ends:
            host = _host(found, span)
            bodies.setdefault(_body(text, host, span, nesting), []).append(span)
    for host, spans in bodies.items():
        _refuse_other_language(text, found, host, spans[0])
        _check_body(text, host, spans, nesting)


_check_once = lru_cache(maxsize=256)(_check)
"""The diff and the run of a step make the same text; what was refused is checked again."""


def _scan(text: str) -> list[Token]:
    try:
        return tokens(text)
    except BadSql as exc:
        raise BadSql(exc.message, exc.offset, exc.hint or _QUOTES) from None


def _refuse_glue(text: str, span: Span) -> None:
    """`backup_{{ name|ident }}` would be two names, and the second an alias."""
    beside = text[max(span.edge - 1, 0) : span.edge] + text[span.end : span.end + 1]
    if _GLUE.search(beside):
        hint = "put a space between them, or build the whole value: {{ ('backup_' ~ name)|ident }}"
        message = "a value must not touch the text beside it"
        raise BadSql(message, span.start, _QUOTES if beside in ("''", '""') else hint)


def _host(found: Sequence[Token], span: Span) -> Token:
    """Return the token in which a value begins (or that begins with the value and continues after it)."""
    at = bisect_right(found, span.start, key=lambda token: token.start) - 1
    return found[max(at, 0)]


def _body(text: str, host: Token, span: Span, nesting: int) -> Token:
    """Return the `$$` text that contains the whole value. Raises BadSql if the value is in any other token."""
    opening = _DOLLARS.match(text, host.start)
    if host.kind == "SCONST" and opening and nesting < MAX_NESTING:
        size = len(opening[0])
        if host.start + size <= span.start and span.end <= host.end - size:
            return host
    raise BadSql(*_blame(text, host, span))


def _blame(text: str, host: Token, span: Span) -> tuple[str, int, str]:
    if host.kind in COMMENTS:
        return "a value must not be in a comment", span.start, "take it out of the comment"
    if text[host.start] in "'\"" and host.start < span.start:
        return "a value must not be inside quotes", span.start, _QUOTES
    if host.kind == "SCONST" and text[host.start] == "$":
        return "a value must not end the $$ text that contains it", span.start, "use another tag, such as $body$"
    return "a value must not touch the text beside it", span.start, "put a space between them"


def _refuse_escaped_quotes(text: str, found: Sequence[Token], values: set[int]) -> None:
    r"""With standard_conforming_strings off, `'\', {{ v }}` would put the value outside of its quotes."""
    for token in found:
        own = token.kind == "SCONST" and text[token.start] == "'" and token.start not in values
        if own and _ESCAPED_QUOTE.search(text, token.start + 1, token.end):
            hint = r"write E'\\' for one backslash: that is the same on every server"
            raise BadSql("a backslash before a quote is read in two ways", token.start, hint)


def _refuse_other_language(text: str, found: Sequence[Token], host: Token, span: Span) -> None:
    """A body in Perl or Python has other quotes than SQL: `"@{[system 'x']}"` is code there."""
    at = found.index(host)
    ends = [i for i, token in enumerate(found) if token.kind == "ASCII_59"]
    first = max((i for i in ends if i < at), default=-1) + 1
    last = min((i for i in ends if i > at), default=len(found))
    statement = [token for token in found[first:last] if token.kind not in COMMENTS]
    for word, name in pairwise(statement):
        language = text[name.start : name.end].strip("'\"").lower()
        if word.kind == "LANGUAGE" and language not in _SQL_LANGUAGES:
            hint = "give it as an argument of the function, or set it with set_config() and read it there"
            raise BadSql(f"a value must not be in a body of language {language}", span.start, hint)


def _check_body(text: str, host: Token, spans: Sequence[Span], nesting: int) -> None:
    opening = _DOLLARS.match(text, host.start)
    size = len(opening[0]) if opening else 0
    begin = host.start + size
    inner = [Span(*(at - begin for at in span)) for span in spans]
    try:
        check(text[begin : host.end - size], inner, nesting + 1)
    except BadSql as exc:
        raise BadSql(exc.message, exc.offset + begin, exc.hint) from None
