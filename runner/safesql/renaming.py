"""Rename relations in SQL that PostgreSQL itself wrote with an empty search_path, so that every name is qualified.

It uses PostgreSQL's own scanner: text in a comment, a string or a function's body is no name. A name that
is followed by an opening parenthesis is a function, except in the few places where columns follow a table.
Sources: PostgreSQL's ruleutils.c and pg_dump.c (how names are written), docs 8.19 (regclass constants).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from runner.safesql.syntax import COMMENTS, Token, tokens
from runner.sqltext import literal, qualified
from runner.table_name import TableName

_PLAIN = re.compile(r"[^\W\d][\w$]*")
_QUALIFIED = re.compile(r'(?:"((?:[^"]|"")+)"|([^".]+))\.(?:"((?:[^"]|"")+)"|([^".]+))')
_GLUE = re.compile(r"[\w$'\"]")
"""Characters that would merge with a quoted name; PostgreSQL writes a space there."""

_DOT, _OPEN, _END = "ASCII_46", "ASCII_40", "ASCII_59"
_COLUMNS_FOLLOW = ("TABLE", "INTO", "REFERENCES", "VIEW", "ONLY", "EXISTS", "STATISTICS")
"""After these words, a name followed by a parenthesis is a relation with its columns."""

_RECENT: dict[str, list[Token]] = {}
_MOST = 256
"""Tokens of texts that were read last, and of how many. The structure of a table is about 6 texts, each of which is cut
into statements, looked at and renamed: with a scan for each of these, they took most of planrun's own CPU in a load of
1,000 tables."""

_BY_OID = ("regclass", "regtype")
"""Types whose constants are text that names an object."""


def rename(text: str, mapping: Mapping[TableName, TableName]) -> str:
    """Return the text with each relation of `mapping` renamed to its new schema and name. Raises BadSql.

    >>> rename("SELECT nextval('public.s'::regclass) FROM public.a", {("public", "a"): ("x", "a")})
    'SELECT nextval(\\'public.s\\'::regclass) FROM "x"."a"'
    """
    made: list[str] = []
    done = 0
    for start, end, new in _places(text, mapping):
        apart = " " if (made and start == done) or _GLUE.search(text[max(start - 1, done) : start]) else ""
        made += [text[done:start], apart + new, " " if text[end : end + 1] == '"' else ""]
        done = end
    return "".join([*made, text[done:]])


def relations(text: str) -> list[TableName]:
    """Return the qualified names of a text that could be relations, in the order of the text."""
    return [name for _, _, name in _names(text, _tokens(text))]


def statements(text: str) -> list[str]:
    """Cut a text at the semicolons that are not inside parentheses; comments around statements are left out."""
    made, depth, mine = list[str](), 0, list[Token]()
    for token in _tokens(text):
        depth += (token.kind == _OPEN) - (token.kind == "ASCII_41")
        if token.kind == _END and depth <= 0:
            made += [_cut(text, mine)] if mine else []
            mine = []
        else:
            mine.append(token)
    return [*made, _cut(text, mine)] if mine else made


def _cut(text: str, mine: Sequence[Token]) -> str:
    """Return the part of a text that consists of these tokens, and keep them as its own."""
    at = mine[0].start
    part = text[at : mine[-1].end]
    _keep(part, [Token(start - at, end - at, kind) for start, end, kind in mine])
    return part


def _tokens(text: str) -> list[Token]:
    """Return the tokens without comments. Raises BadSql."""
    if (found := _RECENT.get(text)) is None:
        found = [token for token in tokens(text) if token.kind not in COMMENTS]
        _keep(text, found)
    return found


def _keep(text: str, found: list[Token]) -> None:
    if len(_RECENT) >= _MOST:
        _RECENT.clear()
    _RECENT[text] = found


def _places(text: str, mapping: Mapping[TableName, TableName]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and the new text of everything to rename, in order."""
    found = _tokens(text)
    names = {start: (end, name) for start, end, name in _names(text, found)}
    for number, token in enumerate(found):
        if token.start in names:
            end, name = names[token.start]
            if name in mapping:
                yield token.start, end, str(qualified(*mapping[name]))
        elif token.kind == "SCONST" and _means_object(text, found[number + 1 : number + 5]):
            inside = _name_in_string(text[token.start : token.end])
            if inside and inside in mapping:
                yield _start(found, number), token.end, str(literal(str(qualified(*mapping[inside])))).strip()


def _start(found: Sequence[Token], number: int) -> int:
    """Return where a string constant begins, including the N of N'...', which the scanner reports as a separate
    word."""
    token, before, dot = found[number], found[number - 1], found[max(number - 2, 0)]
    national = number and before.kind == "NCHAR" and before.end == token.start and dot.kind != _DOT
    return before.start if national else token.start


def _names(text: str, found: Sequence[Token]) -> Iterator[tuple[int, int, TableName]]:
    """Yield start, end and parts of each `schema.name` that is neither a function nor part of a longer name."""
    for at in range(len(found) - 2):
        first, dot, second = found[at : at + 3]
        if dot.kind != _DOT or (at and found[at - 1].kind == _DOT):
            continue
        schema, name = (_name(text[token.start : token.end]) for token in (first, second))
        if not schema or not name or (at and found[at - 1].kind == "COLLATE"):
            continue
        if at + 3 < len(found) and found[at + 3].kind == _OPEN and not _before_columns(found, at):
            continue
        yield first.start, second.end, TableName(schema, name)


def _before_columns(found: Sequence[Token], at: int) -> bool:
    """Return whether a name that is followed by a parenthesis names a relation."""
    before = found[at - 1].kind if at else ""
    return before in _COLUMNS_FOLLOW or (before == "ON" and _begins_index(found, at - 1))


def _begins_index(found: Sequence[Token], at: int) -> bool:
    """Return whether the ON at this place is the first one of a CREATE INDEX."""
    while at and found[at - 1].kind not in (_END, "ON"):
        at -= 1
    return found[at].kind == "CREATE" and any(token.kind == "INDEX" for token in found[at : at + 3])


def _name(word: str) -> str:
    """Return the name in a token, "" if it is not a name."""
    if word.startswith('"'):
        return word[1:-1].replace('""', '"')
    return word.lower() if _PLAIN.fullmatch(word) else ""


def _means_object(text: str, after: Sequence[Token]) -> bool:
    """Return whether `::regclass` follows, perhaps as pg_catalog.regclass."""
    words = [text[token.start : token.end].lower() for token in after]
    name = words[3:4] if words[1:3] == ["pg_catalog", "."] else words[1:2]
    return words[:1] == ["::"] and name != [] and name[0] in _BY_OID


def _name_in_string(constant: str) -> TableName | None:
    """Return the qualified name in a string constant."""
    if constant.startswith("$"):
        size = constant.index("$", 1) + 1
        body = constant[size:-size]
    else:
        body = constant[constant.index("'") + 1 : -1].replace("''", "'")
    if constant[0] in "eE":
        body = body.replace("\\\\", "\\")
    match = _QUALIFIED.fullmatch(body)
    if not match:
        return None
    schema, plain_schema, name, plain_name = (part and part.replace('""', '"') for part in match.groups())
    return TableName(schema or plain_schema or "", name or plain_name or "")
