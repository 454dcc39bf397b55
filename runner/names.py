"""Names of tables, as plans, pg_dump, regular expressions and file systems write them; names of backup sessions."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from runner.table_name import TableName
from runner.words import close_matches

_LONGEST = 180
"""Bytes of a file name without its ending; file systems allow 255, and csv and compression add to it."""

_TOGETHER = 100
"""Names in one pattern: it becomes one regular expression of the server."""

_NEAR = 0.85
"""difflib's ratio from which a name counts as a typing mistake: `_cdc_a` and `_cdc_b` have 0.83."""


def near(name: str, others: Iterable[str]) -> str:
    """Return the one of the other names that was probably meant; "" if none is similar.

    >>> near("users", ["Users", "orders"]), near("order_item", ["order_items"]), near("_cdc_a", ["_cdc_b"])
    ('Users', 'order_items', '')
    """
    found = sorted(set(others) - {name})
    plain = {other: other.casefold().replace("_", "") for other in found}
    same = [other for other in found if plain[other] == name.casefold().replace("_", "")]
    return next(iter(same or close_matches(name, found, cutoff=_NEAR)), "")


def near_prefix(prefix: str, names: Iterable[str]) -> str:
    """Return a beginning of about the same length that most similar names share; "" if no name is similar.

    >>> near_prefix("_cdx_", ["_cdc_users", "_cdc_orders", "area"])
    '_cdc_'
    """
    starts = Counter(name[:size] for name in names for size in {len(prefix) - 1, len(prefix), len(prefix) + 1} if size)
    close = close_matches(prefix, sorted(starts), 20)
    return max(close, key=lambda start: (start[-1:] == prefix[-1:], starts[start]), default="")


def pattern(schema: str, name: str) -> str:
    """Return the pg_dump pattern that means exactly this table: in double quotes no character is special."""
    return f"{literally(schema)}.{literally(name)}"


def patterns(tables: Iterable[TableName]) -> list[str]:
    """Return pg_dump patterns that mean exactly these tables together: pg_dump searches the catalog once for each."""
    by_schema: dict[str, list[str]] = {}
    for schema, name in tables:
        by_schema.setdefault(schema, []).append(literally(name))
    return [
        f"{literally(schema)}.({'|'.join(names[start : start + _TOGETHER])})"
        for schema, names in by_schema.items()
        for start in range(0, len(names), _TOGETHER)
    ]


def literally(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def file_names(tables: Sequence[TableName], suffix: str) -> dict[TableName, str]:
    """Return a file name for each table: its name, with the schema if two have the same name.

    File systems may ignore case and the encoding of accents: names that differ only in these get a number.
    """
    names = Counter(_fold_case(name) for _, name in tables)
    found: dict[TableName, str] = {}
    taken: set[str] = set()
    for schema, name in sorted(tables, key=lambda table: (table[0] != "public", table)):
        plain = schema == "public" or names[_fold_case(name)] == 1
        stem = _short(_safe(name) if plain else f"{_safe(schema)}.{_safe(name)}")
        number = next(n for n in range(1, len(tables) + 2) if _with_number(stem, n, suffix) not in taken)
        taken.add(_with_number(stem, number, suffix))
        found[TableName(schema, name)] = (stem if number == 1 else f"{stem}~{number}") + suffix
    return found


def _with_number(stem: str, number: int, suffix: str) -> str:
    return _fold_case((stem if number == 1 else f"{stem}~{number}") + suffix)


def _fold_case(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _short(stem: str) -> str:
    data = stem.encode()
    if len(data) <= _LONGEST:
        return stem
    return data[: _LONGEST - 13].decode(errors="ignore") + "~" + hashlib.sha256(data).hexdigest()[:12]


def _safe(text: str) -> str:
    """Return a name that is safe on any file system: letters, digits and `_-.$` stay, other bytes become %XX."""
    made = "".join(char if char.isalnum() or char in "_-.$" else _percent(char) for char in text)
    return _percent(made[0]) + made[1:] if made[0] in ".-" else made


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def glob_regex(glob: str) -> str:
    """Return the PostgreSQL regular expression of a glob: `*` and `?` are special, and `[ab]`, `[!ab]`.

    >>> glob_regex("_cdc_*"), glob_regex("a.b?[!x-z]")
    ('^_cdc_.*$', '^a\\\\.b.[^x-z]$')
    """
    made, at = "", 0
    while at < len(glob):
        end = glob.find("]", at + 2) if glob[at] == "[" else -1
        if end > 0:
            inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            made += f"[^{inside[1:]}]" if inside[0] == "!" else f"[{inside}]"
            at = end
        else:
            made += {"*": ".*", "?": "."}.get(glob[at]) or _plain(glob[at])
        at += 1
    return f"^{made}$"


def _plain(char: str) -> str:
    return char if char.isalnum() or char in "_- \n" or ord(char) > 127 else "\\" + char


# ------------------------------------------------------------------ backup sessions

_SESSION = re.compile(r"backup_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z")


def session_name(moment: datetime) -> str:
    """Return the folder name of a session taken at a moment.

    >>> session_name(datetime(2025, 7, 20, 12, 26, 55, 178000, tzinfo=UTC))
    'backup_2025-07-20T12-26-55-178Z'
    """
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return f"backup_{text.replace(':', '-').replace('.', '-')}Z"


def session_moment(name: str) -> datetime:
    """Return when the session of this name was taken.

    >>> session_moment("backup_2025-07-20T12-26-55-178Z")
    datetime.datetime(2025, 7, 20, 12, 26, 55, 178000, tzinfo=datetime.timezone.utc)
    """
    return datetime.strptime(name + "+0000", "backup_%Y-%m-%dT%H-%M-%S-%fZ%z")


def is_session_name(text: str) -> bool:
    """Return whether this is the name of a complete session."""
    return bool(_SESSION.fullmatch(text))
