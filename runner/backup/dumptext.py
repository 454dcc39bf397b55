r"""Filter dump text on its way to psql: remove what must not reach the target, and keep foreign keys for the end.

Removed: settings that an older server does not know or that would wait for locks without end, `\restrict` lines
(runner.backup.loading sets its own), and owners and grants if they are not wanted. All of these are in the head of a
dump or in an entry without rows; the filter never examines rows.
Sources: PostgreSQL docs pg_dump (--section, --no-owner), psql (\restrict), 13.6 of the release notes of 17.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from runner.table_name import TableName

_QUOTED = rb'(?>"(?:""|[^"\n]|\n(?!\\\.\n))*")'
"""A name in quotes. It may contain line breaks, but never the end of the rows of a COPY."""

_LINE = re.compile(
    rb"^(?:-- (?:Data for )?Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*); Owner: (?P<of>.*)"
    rb"|-- PostgreSQL database dump(?P<complete> complete)?"
    rb"|(?P<key>\\(?:un)?restrict \w+)"
    rb"|(?P<setting>SET (?:transaction_timeout|lock_timeout) = 0;)"
    rb"|(?P<owner>ALTER [A-Z ]+ (?:" + _QUOTED + rb"|[^\"\n])* OWNER TO (?:" + _QUOTED + rb"|[^\"\n;]+);)"
    rb"|(?P<end>(?:BEGIN|COMMIT);)"
    rb"|(?P<copy>COPY .* FROM stdin;)"
    rb"|(?P<dot>\\\.))$",
    re.MULTILINE,
)
_DOT = b"\\."
_DOT_LINE = re.compile(rb"^(?P<dot>\\\.)$", re.MULTILINE)
_LONGEST = 1 << 20
"""A longer line, in bytes, can only be part of a row: a COPY of 1,600 columns with the longest names takes 500 kB."""

_LINE_BREAK = re.compile(r"[\r\n]")
"""pg_dump writes a space instead in the head of an entry."""

_ROWS = "TABLE DATA"
_LARGE_OBJECTS = "BLOBS"
_GRANTS = frozenset({"ACL", "DEFAULT ACL"})
_ATTACH = frozenset({"TABLE ATTACH", "INDEX ATTACH"})


class Cleaner:
    """Takes the blocks of one dump and yields what psql may run; `keys` then contains its foreign keys.

    found: the (kind, schema, name) of its entries; rows: lines of its COPY blocks; ended: the dump was complete.
    owners (the attribute): the owners of the entries.
    owners: keep owners and grants. alone: the name of a partition that must not be attached to its parent, or "".
    schemas: names whose CREATE SCHEMA is left out. keys_from: before this offset nothing is a foreign key.
    """

    def __init__(
        self, *, owners: bool = True, alone: str = "", schemas: Iterable[str] = (), keys_from: int = 0
    ) -> None:
        self._owners, self._alone, self._keys_from = owners, alone, keys_from
        self._detached = False
        self._schemas = frozenset(_LINE_BREAK.sub(" ", name) for name in schemas)
        self._head, self._kind, self._where = True, "", "out"
        self._within, self._read = False, 0
        self._quote, self._copying, self._naming = b"", False, False
        self.keys: list[bytes] = []
        self.found: set[tuple[str, str, str]] = set()
        self.owners: set[str] = set()
        self.rows, self.ended = 0, False

    def clean(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the text for psql, in whole lines or in pieces of a line that is so long that it must be a row."""
        for data in _in_lines(blocks):
            yield self._lines(data)

    def _lines(self, data: bytes) -> bytes:
        kept: list[bytes] = []
        start = 0
        if self._within:  # the rest of a long line, even if it looks like a separate line
            start = data.find(b"\n") + 1 or len(data)
            self._put(kept, data[:start])
        while match := self._next_line(data, start):
            self._put(kept, data[start : match.start()])
            if self._is_row(match) or self._keep(match):
                self._add(kept, match[0])
            start = match.end()
        self._put(kept, data[start:])
        self._within = not data.endswith(b"\n") if data else self._within
        self._read += len(data)
        return b"".join(kept)

    def _next_line(self, data: bytes, start: int) -> re.Match[bytes] | None:
        """Return the next line that matters. `re` tries every byte of rows; `find` takes a tenth of its time."""
        if not self._copying:
            return _LINE.search(data, start)
        while (at := data.find(_DOT, start)) >= 0:
            if match := _DOT_LINE.match(data, at):
                return match
            start = at + len(_DOT)
        return None

    def _is_row(self, match: re.Match[bytes]) -> bool:
        """Return whether the line is part of a row, whatever it looks like: a column may contain the text of a dump."""
        if self._copying:
            self._copying = not match["dot"]
            return True
        if self._kind == _ROWS and not self._quote and match["copy"]:
            self._copying, self.rows = True, self.rows - 1  # the end of this line is counted with the rows
            return True
        if self._quote:
            self._quote = _open_quote(self._quote, match[0])
            return True
        return False

    def _put(self, kept: list[bytes], text: bytes) -> None:
        if self.ended and text.strip(b"\n- "):
            self.ended = False
        if self._copying:
            self.rows += text.count(b"\n")
        elif self._kind == _ROWS:
            self._naming |= text.lstrip(b"\n- ").startswith(b"COPY ")
            if not (self._naming and self._rows_begin(text)):
                self._quote = _open_quote(self._quote, text)
        self._add(kept, text)

    def _rows_begin(self, text: bytes) -> bool:
        """Return whether a COPY ends in this text and rows follow: `_LINE` does not match a name with a line break."""
        for match in _STDIN.finditer(text):
            if not _open_quote(self._quote, text[: match.start()]):
                self._quote, self._naming, self._copying = b"", False, True
                self.rows += text.count(b"\n", match.end())
                return True
        return False

    def _add(self, kept: list[bytes], text: bytes) -> None:
        if self._where == "out":
            kept.append(text)
        elif self._where == "keys":
            self.keys[-1] += text

    def _keep(self, match: re.Match[bytes]) -> bool:
        """Track the position in the dump; return whether to keep the line."""
        if match["copy"] or match["dot"]:
            return True
        if match["kind"]:
            kind, schema, name = (_text(match[word]) for word in ("kind", "schema", "name"))
            self.owners |= {_text(match["of"])} - {"", "-"}
            self._entry(kind, schema, name, self._read + match.start())
        elif match["key"] or match["setting"]:
            return not self._head
        elif match["owner"]:
            return self._owners
        elif match["end"]:
            return self._kind != _LARGE_OBJECTS  # BEGIN and COMMIT of the dump would end the transaction of the restore
        else:
            self._head, self._where, self._kind = True, "out", ""
            self.ended = bool(match["complete"])
        return True

    def _entry(self, kind: str, schema: str, name: str, offset: int) -> None:
        self._head, self._kind = False, kind
        self.found.add((kind, schema, name))
        gone = kind in _GRANTS and not self._owners
        # an index of a partitioned table is valid only if those of all partitions are attached to it
        self._detached |= kind == "TABLE ATTACH" and name == self._alone
        gone |= kind in _ATTACH and self._detached and (kind == "INDEX ATTACH" or name == self._alone)
        gone |= kind == "SCHEMA" and name in self._schemas
        gone |= kind == "COMMENT" and name.startswith("EXTENSION ")  # it has it by itself, and only its owner may
        self._where = "gone" if gone else "out"
        if kind == "FK CONSTRAINT" and offset >= self._keys_from:
            self._where = "keys"
            self.keys.append(b"")


def _in_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks cut after a line break. A line longer than `_LONGEST` is not collected: it may have 1 GB."""
    parts, size = list[bytes](), 0
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if cut or size + len(block) > _LONGEST:
            cut = cut or len(block)
            yield b"".join([*parts, block[:cut]])
            parts, size = [], 0
        parts.append(block[cut:])
        size += len(block) - cut
    yield b"".join(parts)


_STDIN = re.compile(rb" FROM stdin;\n")
_CLOSED, _QUOTE = re.compile(rb"'[^']*'|\"[^\"]*\""), re.compile(rb"['\"]")


def _open_quote(inside: bytes, text: bytes) -> bytes:
    """Return the quote that is open at the end of a text of INSERTs; a doubled quote closes and opens again."""
    match = _QUOTE.search(_CLOSED.sub(b"", inside + text))
    return match[0] if match else b""


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


_PART = r'(?:"(?:[^"]|"")+"|[^\s".()]+)'
_KEY = re.compile(rf"FOREIGN KEY \({_PART}(?:, {_PART})*\) REFERENCES ({_PART})\.({_PART})\(")


def refers_to(key: bytes) -> TableName:
    """Return (schema, name) of the table that a foreign key's entry points to; ("", "") when it cannot be read."""
    match = _KEY.search(key.decode(errors="replace"))
    return TableName(_unquote(match[1]), _unquote(match[2])) if match else TableName("", "")


def _unquote(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


_CSV_DOT = re.compile(rb"^\\\.(\r?)$", re.MULTILINE)


def csv_inline(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yield csv rows in a form for a script: a line `\.` in a quoted value would end them.

    Such a line becomes `"\."`: the first quote closes the value, the second opens it again, and nothing changes.
    psql and servers up to 17 take the line for the end even inside of quotes.
    """
    within = False
    for data in _in_lines(blocks):
        start = data.find(b"\n") + 1 or len(data) if within else 0
        yield data[:start] + _CSV_DOT.sub(rb'"\\."\1', data[start:])
        within = not data.endswith(b"\n") if data else within


def csv_rows(blocks: Iterable[bytes]) -> int:
    """Return the number of records in csv text, including the line of column names."""
    count, inside, empty, last = 0, False, True, b""
    for block in blocks:
        for part_number, part in enumerate(block.split(b'"')):
            inside ^= part_number > 0
            count += 0 if inside else part.count(b"\n")
        empty, last = False, block[-1:] or last
    return count + (not empty and last != b"\n")
