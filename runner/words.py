"""Format numbers and names for people. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

PLAN = "\x1aPLAN\x1a"
"""A placeholder for the plan's file in a hint until `typeable` replaces it. The control characters distinguish it from
text; they are ASCII, as a journal may be in a database of any encoding."""

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")
_DRIVING = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
"""Characters that control a terminal or change the direction of text, and lone surrogates; C0 is added below."""

_CONTROL = re.compile(rf"[\x00-\x1f{_DRIVING}]")
_CONTROL_BUT_TABS = re.compile(rf"[\x00-\x08\x0a-\x1f{_DRIVING}]")
_CONTROL_BUT_LINES = re.compile(rf"[\x00-\x08\x0b-\x1f{_DRIVING}]")
_CONTROL_IN_JSON = re.compile(rf"[{_DRIVING}]")


def plural(count: int, one: str, many: str = "") -> str:
    """Return "1 table", "2 tables", "1,200 tables"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Return bytes for people, in powers of 1024 as PostgreSQL's pg_size_pretty does."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 10240 or unit == "GB":
            return f"{amount:,.0f} {unit}"
        amount /= 1024
    raise AssertionError("GB is the last unit")


def seconds(amount: float) -> str:
    """Return a duration: 45 ms, 1.2 s, 3 min 20 s, 2 h 5 min."""
    if amount < 1:
        return f"{amount * 1000:.0f} ms"
    if amount < 60:
        return f"{amount:.1f} s"
    minutes, rest = divmod(round(amount), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def span(amount: float) -> str:
    """Return a configured duration, given in seconds, as a person would write it: 250 ms, 3 s, 10 min, 1 h 30 min."""
    if 0 < amount < 1:
        return f"{amount * 1000:g} ms"
    parts, rest = list[str](), amount
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        count, rest = divmod(rest, length)
        parts += [f"{count:g} {unit}"] * bool(count)
    return " ".join(parts if parts and not rest else [*parts, f"{rest:g} s"])


def close_matches(word: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return at most `count` known words similar to this one, the most similar first, by difflib's ratio."""
    import difflib  # imported here: only mistakes need it

    return difflib.get_close_matches(word, list(known), count, cutoff)


def shown_name(schema: str, name: str) -> str:
    """Return a relation's name for people, as SQL would write it: quoted only if it must be."""
    return ".".join(
        part if _PLAIN.match(part) else '"' + _CONTROL.sub(_visible, part.replace('"', '""')) + '"'
        for part in (schema, name)
        if part
    )


def one_line(text: str) -> str:
    """Return text safe to print: control and direction characters of data must not drive a terminal."""
    return _CONTROL.sub(_visible, re.sub(r"[ \t]*\n[ \t]*", " | ", text.strip()))


def printable(text: str) -> str:
    """Return one line of text with control and direction characters made visible; tabs stay."""
    return _CONTROL_BUT_TABS.sub(_visible, text)


def safe(text: str) -> str:
    """Return a whole text with control and direction characters made visible; tabs and line breaks stay."""
    return _CONTROL_BUT_LINES.sub(_visible, text)


_STRING = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|$)"
_SEQUENCE = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-Z\\`-~]"
_DRAWN = re.compile(rf"{_STRING}|{_SEQUENCE}|[\x00-\x08\x0b\x0c\x0e-\x1f{_DRIVING}]", re.MULTILINE)
_OVERWRITTEN = re.compile(r"^.*\r(?!$)", re.MULTILINE)


def plain(text: str) -> str:
    r"""Return what a program printed without anything that controls a terminal: cursor, colours, title, clipboard (OSC
    52), direction of text. Of a line that was overwritten, its last version stays. Source: ECMA-48, 5.4 and 5.6.

    >>> plain("\x1b[1mone\x1b[0m\r\n10 %\r99 %\rdone\x1b]52;c;aGk=\x07")
    'one\ndone'
    """
    lines = text.replace("\r\n", "\n")
    return _OVERWRITTEN.sub("", _DRAWN.sub("", lines)).replace("\r", "")


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide character, none for one that combines.

    >>> width_of("caf\u00e9"), width_of("\u8868"), width_of("e\u0301")
    (4, 2, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def wrap(text: str, width: int) -> list[str]:
    """Return the lines of a text, broken between words so that none is wider than `width`; a wider word stays whole.

    What follows is indented by two columns more than the line itself. A command after `next:` is broken so that a shell
    joins it again.

    >>> wrap("  one two three four five", 20)
    ['  one two three four', '    five']
    >>> print(*wrap("next: planrun apply p.yml --resume", 24), sep="|")
    next: planrun apply \\|  p.yml --resume
    """
    return [part for line in text.split("\n") for part in _wrap_line(line, max(width, 20))]


def _wrap_line(line: str, width: int) -> list[str]:
    if width_of(line) <= width:
        return [line]
    body = line.lstrip(" ")
    indent = line[: len(line) - len(body)]
    joint = " \\" if body.startswith("next: ") else ""
    words, found, room = body.split(" "), list[str](), width - len(joint)
    current = indent + words[0]
    for word in words[1:]:
        fits = width_of(current) + 1 + width_of(word) <= room
        if fits or not current.strip() or len(indent) + 2 + width_of(word) > room:  # the terminal breaks that anyway
            current += f" {word}"
            continue
        if not word:
            continue
        found.append(current.rstrip() + joint)
        current = f"{indent}  {word}"
    return [*found, current]


def _visible(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def typeable(hint: str, file: str = "") -> str:
    """Return a hint with PLAN replaced by this file. file: quoted for a shell, "" if unknown.

    >>> typeable(f"planrun status {PLAN}, or rename PLAN", "p.yml")
    'planrun status p.yml, or rename PLAN'
    """
    return hint.replace(PLAN, file or "PLAN")


def json_text(data: Any, *, indent: int | None = None) -> str:
    """Return JSON that people can read and in which no value can control a terminal; other values become text."""
    text = json.dumps(data, indent=indent, ensure_ascii=False, default=_otherwise)
    return _CONTROL_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _otherwise(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def change_line(change: Mapping[str, Any]) -> str:
    """Return an entry of a command's `changed` for people: what happened to a relation, and how to restore it."""
    if not change["name"]:
        return f"what it changed {change['what']}"
    head = f"{shown_name(change['schema'], change['name'])}: {change['what']}"
    if not change["lost"]:
        return head
    return f"{head}; {change['restore'] or 'in no backup of this run'}"
