"""Bad input made from good: bytes, tokens and trees of real inputs, changed a little or joined with another's."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

HOSTILE = (
    *(
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "'",
        '"',
        "\\",
        "\\'",
        "''",
        '""',
        "$$",
        "$a$",
        "--",
        "/*",
        "*/",
        ";",
        ".",
        "..",
        "/",
    ),
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "${",
        "$${",
        "}",
        "&a",
        "*a",
        "!!str",
        "<<",
        "|",
        ">",
        "- ",
        ": ",
        "#",
        "?",
        "@",
        "`",
    ),
    *("\u00e9", "e\u0301", "\u6f22", "\U0001f600", "\u202e", "\u2028", "\ufeff", "\x7f", "\x1b[2J", "\u0130", "\ufb01"),
    *("null", "true", "0x", "1e999", "-0", ".inf", "0b1", "1_000", "9" * 30, "9" * 5000, "2025-07-20T12:26:55.178Z"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "\u0663", "\u00b2", "A" * 63, "A" * 64, "\u6f22" * 22),
    *(
        "public",
        "planrun",
        "pg_catalog",
        "select",
        "__class__",
        "self",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "CON",
    ),
    *("[" * 100, "(" * 100, "not " * 60, "x" * 3000),
)
BROKEN = ("\0", "\ud800", "\udcff", "a\0b", "a\ud83db")
"""What is no text for PostgreSQL and no file name; a catalog cannot give it, a file can."""

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_SEEDS = (None, True, False, 0, 1, -1, 63, 64, 2**31, 2**63, 2**64, 10**400, 0.5, -0.0, 1e308, float("nan"))


def text(rng: Random, *, broken: bool = True) -> str:
    """Return a short hostile text."""
    pool = HOSTILE + BROKEN if broken else HOSTILE
    return "".join(rng.choice(pool) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def name(rng: Random) -> str:
    """Return a name as PostgreSQL may have it: 1 to 63 bytes of any characters but NUL."""
    made = text(rng, broken=False) if rng.random() < 0.7 else rng.choice(("orders", "Area", "a.b", 'q"q', "x y"))
    return made.encode()[:63].decode(errors="ignore") or "t"


def tokens(rng: Random, given: str, others: Sequence[str], *, broken: bool = True) -> str:
    """Change a text by tokens: drop, double, swap, put in a hostile one or a piece of another text."""
    parts = _TOKEN.findall(given)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(parts) + 1)
        match rng.randrange(6):
            case 0:
                del parts[at : at + rng.choice((1, 1, 2, 8))]
            case 1:
                parts[at:at] = parts[at : at + rng.choice((1, 4, 16))] * rng.choice((1, 1, 2, 20))
            case 2 if len(parts) > 1:
                other = rng.randrange(len(parts))
                at = min(at, len(parts) - 1)
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                more = _TOKEN.findall(rng.choice(others))
                start = rng.randrange(len(more) + 1)
                parts[at:at] = more[start : start + rng.choice((1, 3, 12))]
            case _:
                parts[at : at + rng.randrange(2)] = [text(rng, broken=broken)]
    return "".join(parts)


def raw(rng: Random, given: bytes) -> bytes:
    """Change bytes: flip, drop, double, cut off."""
    data = bytearray(given)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + rng.choice((1, 2, 30))]
            case 2:
                data[at:at] = data[at : at + rng.choice((1, 5, 50))]
            case 3:
                data[at:at] = rng.choice(
                    (b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n", b"\t")
                )
            case _:
                del data[at if rng.random() < 0.2 else len(data) :]
    return bytes(data)


def anything(rng: Random, depth: int = 3) -> Any:
    """Return any JSON value."""
    match rng.randrange(5 if depth else 3):
        case 0:
            return rng.choice(_SEEDS)
        case 1 | 2:
            return text(rng)
        case 3:
            return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]
        case _:
            return {text(rng): anything(rng, depth - 1) for _ in range(rng.randrange(4))}


def tree(rng: Random, given: Any, other: Callable[[Random], Any] = anything) -> Any:
    """Return a copy of a JSON value in which one to three parts are dropped, doubled, exchanged or anything."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        given = _change(rng, given, other)
    return given


def _change(rng: Random, given: Any, other: Callable[[Random], Any]) -> Any:
    if not given or not isinstance(given, dict | list) or rng.random() < 0.05:
        return _leaf(rng, given, other)
    if isinstance(given, list):
        return _item(rng, given, other)
    key = rng.choice(sorted(given))
    rest = {k: v for k, v in given.items() if k != key}
    match rng.randrange(8):
        case 0:
            return rest
        case 1:
            return {**given, rng.choice((text(rng), rng.choice(sorted(given)))): given[key]}
        case _:
            return {**given, key: _change(rng, given[key], other)}


def _item(rng: Random, given: list[Any], other: Callable[[Random], Any]) -> list[Any]:
    at = rng.randrange(len(given))
    match rng.randrange(8):
        case 0:
            return given[:at] + given[at + 1 :]
        case 1:
            return given[:at] + [given[at]] * rng.choice((2, 2, 50)) + given[at + 1 :]
        case 2:
            return rng.sample(given, len(given))
        case _:
            return [*given[:at], _change(rng, given[at], other), *given[at + 1 :]]


def _leaf(rng: Random, given: Any, other: Callable[[Random], Any]) -> Any:
    if isinstance(given, str) and rng.random() < 0.5:
        return tokens(rng, given, HOSTILE)
    if isinstance(given, int) and rng.random() < 0.3:
        return rng.choice((given + 1, given - 1, -given, given / 3 if abs(given) < 2**64 else 0))
    return other(rng)


def change_values(rng: Random, given: Any) -> Any:
    """Return a copy of a row in which values are others of the same type: what columns of a catalog may hold."""
    if isinstance(given, dict):
        return {key: change_values(rng, value) if rng.random() < 0.5 else value for key, value in given.items()}
    if isinstance(given, list):
        kept = [change_values(rng, value) for value in given if rng.random() < 0.8]
        return kept * 2 if rng.random() < 0.05 else kept
    if rng.random() < 0.6 or given is None:
        return given
    if isinstance(given, bool):
        return not given
    return rng.choice((0, 1, 7, 2**32 - 1)) if isinstance(given, int) else name(rng)
