r"""Parse the plain text that pg_dump writes, and split it so that each part runs by itself.

An entry begins with `--`, `-- Name: users; Type: TABLE; Schema: public; Owner: x`, `--`. Before the first one are
SET commands and, since the minor releases of 2025, a `\restrict KEY`; its `\unrestrict KEY` is at the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

COMPLETE = b"-- PostgreSQL database dump complete"
END = f"\n--\n{COMPLETE.decode()}\n--\n\n"
"""The end of a text that planrun adds to a dump."""

_ENTRY = re.compile(rb"^--\n-- (?:Data for )?Name: .*?; Type: ([A-Z ]+); Schema: ", re.MULTILINE)
_END = re.compile(rb"^--\n" + COMPLETE, re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """One object in a dump: what kind it is, and the SQL that makes it."""

    kind: str
    text: str


def entries(text: bytes) -> list[Entry]:
    """Return the entries of a small dump without rows, without its head and its end."""
    found = list(_ENTRY.finditer(text))
    ends = [match.start() for match in found[1:]] + [_last(_END, text)] if found else []
    return [Entry(m[1].decode(), text[m.start() : end].decode()) for m, end in zip(found, ends, strict=True)]


_POST_DATA = frozenset(
    {b"CONSTRAINT", b"FK CONSTRAINT", b"CHECK CONSTRAINT", b"INDEX", b"INDEX ATTACH", b"STATISTICS", b"RULE"}
    | {b"TRIGGER", b"POLICY", b"ROW SECURITY", b"PUBLICATION TABLE", b"EVENT TRIGGER"}
)


def foreign_keys_last(text: bytes) -> tuple[bytes, bytes]:
    """Cut the post-data section of a dump into two texts: before the first foreign key, and from it on.

    Each has the head and the end of the whole text. The second is empty if there is no foreign key.
    """
    return _cut(text, frozenset((b"FK CONSTRAINT",)))


def post_data_last(text: bytes) -> tuple[bytes, bytes]:
    """Cut a dump without rows in two texts, as `foreign_keys_last` does: before the rows, and after them."""
    return _cut(text, _POST_DATA)


def _cut(text: bytes, kinds: frozenset[bytes]) -> tuple[bytes, bytes]:
    found = list(_ENTRY.finditer(text))
    first = next((match.start() for match in found if match[1] in kinds), None)
    if first is None:
        return text, b""
    return text[:first] + text[_last(_END, text) :], text[: found[0].start()] + text[first:]


def _last(pattern: re.Pattern[bytes], text: bytes) -> int:
    return [match.start() for match in pattern.finditer(text)][-1]


def entry_comment(kind: str, schema: str, name: str) -> bytes:
    """Return the comment line that pg_dump puts above an entry of a kind such as TABLE."""
    return f"-- Name: {one_line(name)}; Type: {kind}; Schema: {one_line(schema)}; ".encode()


def one_line(name: str) -> str:
    """Return a name as pg_dump and pg_restore --list write it in comments and lists (sanitize_line of pg_dump)."""
    return name.replace("\n", " ").replace("\r", " ")


class EntryCheck:
    """Checks a dump while it is streamed: does it contain the entry, and is it complete?"""

    def __init__(self, wanted: bytes) -> None:
        self._wanted, self._tail, self.found = wanted, b"", not wanted

    def see(self, data: bytes) -> None:
        if not self.found:
            self.found = self._wanted in self._tail + data
        keep = max(len(self._wanted), 400)
        self._tail = (self._tail + data)[-keep:] if len(data) < keep else data[-keep:]

    @property
    def complete(self) -> bool:
        return COMPLETE in self._tail


_NEW = re.compile(rb"^(?:\\restrict (?P<key>\w+)|SET transaction_timeout = 0;)\n", re.MULTILINE)
_FIRST = b"\n-- Name: "
_LONGEST_HEAD = 1 << 16


class Portable:
    r"""Removes from a dump, while it is streamed, what only newer programs know, so that any psql and server can read
    it.

    That is `\restrict` and `\unrestrict`, of the minor releases of August 2025, and a setting of PostgreSQL 17 and
    later.
    """

    def __init__(self) -> None:
        self._head, self._end, self._waiting = True, b"", b""

    def __call__(self, data: bytes, *, last: bool = False) -> bytes:
        """Return the text that can be written after `data` has arrived."""
        data, self._waiting = self._waiting + data, b""
        head = b""
        if self._head:
            cut = data.find(_FIRST)
            if cut < 0 and not last and len(data) < _LONGEST_HEAD:
                self._waiting = data
                return b""
            cut = cut if cut >= 0 else len(data)
            head, data, self._head = self._without(data[:cut]), data[cut:], False
        if self._end:  # its key is one of 2 ** 256, so no row contains it
            data = data.replace(self._end, b"")
            if not last:
                data, self._waiting = data[: -len(self._end)], data[-len(self._end) :]
        return head + data

    def _without(self, head: bytes) -> bytes:
        key = next((found["key"] for found in _NEW.finditer(head) if found["key"]), b"")
        self._end = b"\\unrestrict " + key + b"\n" if key else b""
        return _NEW.sub(b"", head)
