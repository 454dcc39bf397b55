"""Numbers and names as people read them. Pure."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plural(count: int, one: str, many: str = "") -> str:
    """Return "1 table", "2 tables", "1,200 tables"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Return bytes as people read them, in powers of 1024 as PostgreSQL's pg_size_pretty does."""
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


def shown_name(schema: str, name: str) -> str:
    """Return a relation's name as SQL would write it: quoted only where it must be."""
    return ".".join(
        part if _PLAIN.match(part) else '"' + part.replace('"', '""') + '"' for part in (schema, name) if part
    )


def one_line(text: str) -> str:
    """Return text safe to print: control and direction characters of data must not drive a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.strip().replace("\n", " | "))


def printable(text: str) -> str:
    """Return one line of text with control and direction characters made visible."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}" if match[0] != "\t" else "\t", text)
