"""Normalize expressions that PostgreSQL prints in two ways, so that equal ones have equal texts.

`check (value in ('a', 'b'))` on a varchar is written `(ARRAY['a'::character varying, ...])::text[]`. When that text is
read back the cast moves to the elements, and from then on the text stays. So a domain that was restored from a dump
has another text than the one that was dumped. A diff only reads, so that this rule is applied here and not by a server.
Sources: PostgreSQL's ruleutils.c, transformTypeCast in parse_expr.c.
"""

from __future__ import annotations

import re

_ARRAY = "(ARRAY["
_CAST = re.compile(r"\]\)::((?:\"(?:[^\"]|\"\")+\"|[\w .])+(?:\([\d,]+\))?)\[\]")
_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[\[\](),]|[^'\"\[\](),]+")


def settle(text: str) -> str:
    """Return how PostgreSQL prints an expression after it has read its own text of that expression.

    >>> settle("(VALUE)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])")
    "(VALUE)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])"
    """
    start = text.find(_ARRAY)
    if start < 0:
        return text
    inside = start + len(_ARRAY)
    elements, end = _elements(text, inside)
    type = _CAST.match(text, end)
    head = text[:start]
    if type is None:
        return head + _ARRAY + settle(text[inside:])
    made = ", ".join(_cast(one, type[1]) for one in elements)
    return f"{head}ARRAY[{made}]{settle(text[type.end() :])}"


def _cast(element: str, type: str) -> str:
    """Return an element with the cast; that of an array within an array goes to its own elements."""
    if element.startswith("ARRAY["):
        inner, end = _elements(element, len("ARRAY["))
        if end == len(element) - 1:
            return f"ARRAY[{', '.join(_cast(one, type) for one in inner)}]"
    return f"({settle(element)})::{type}"


def _elements(text: str, start: int) -> tuple[list[str], int]:
    """Return the elements of an array that begin at `start`, and where its closing bracket stands."""
    found, depth, begin, end = list[str](), 0, start, start
    for token in _TOKEN.finditer(text, start):
        end = token.start()
        if token[0] == "," and depth == 0:
            found.append(text[begin:end].strip())
            begin = token.end()
        elif token[0] in ("]", ")"):
            if depth == 0:
                break
            depth -= 1
        depth += token[0] in ("[", "(")
    return [*found, text[begin:end].strip()], end
