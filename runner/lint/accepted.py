"""Comments that accept a finding: `-- lint: accept PR1024: the table has 200 rows`, before a statement or inside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from runner.safesql import syntax

_COMMENT = re.compile(r"(?:--|/\*)\s*lint:\s*(?P<rest>.*?)\s*(?:\*/)?\Z", re.DOTALL | re.IGNORECASE)
_ACCEPT = re.compile(r"accept\s+(?P<codes>[\w-]+(?:\s*,\s*[\w-]+)*)\s*:\s*(?P<reason>\S.*)", re.DOTALL | re.IGNORECASE)


@dataclass
class Accept:
    """A comment. offset: its own; statement: that of the statement it is about. codes: codes of planrun, rules of
    squawk. reason: "" where the comment cannot be read. used: the codes that it accepted.
    """

    offset: int
    statement: int
    codes: tuple[str, ...] = ()
    reason: str = ""
    used: set[str] = field(default_factory=set)


def accepts(sql: str, starts: Sequence[int]) -> Iterator[Accept]:
    """Yield the comments of a text. starts: the offsets of its statements."""
    for token in syntax.tokens(sql):
        if token.kind not in syntax.COMMENTS or not (match := _COMMENT.match(sql[token.start : token.end])):
            continue
        about = _statement(sql, token, starts)
        if found := _ACCEPT.fullmatch(match["rest"]):
            codes = tuple(re.split(r"\s*,\s*", found["codes"]))
            yield Accept(token.start, about, codes, found["reason"].strip())
        else:
            yield Accept(token.start, about)


def _statement(sql: str, token: syntax.Token, starts: Sequence[int]) -> int:
    """Return the offset of the statement that a comment stands in, or else before; at the end of the line of a
    statement that is over, it is about that one.
    """
    before = [start for start in starts if start < token.start]
    after = [start for start in starts if start > token.start]
    ended = sql[before[-1] : token.start].rstrip().endswith(";") if before else True
    if before and (not ended or "\n" not in sql[before[-1] : token.start].rpartition(";")[2]):
        return before[-1]
    return after[0] if after else before[-1] if before else 0
