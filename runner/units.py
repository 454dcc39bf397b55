"""Read durations, sizes and paths as people write them in a plan."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"B": 1, "kB": 1024, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_NUMBER = r" *[0-9]{1,15}(?:\.[0-9]{1,9})? *"
# no spaces at the end of a part: otherwise `5s 5s 5s ... !` could match in 2^n ways
END = r"$(?!\n)"
"""The end of a text in a pattern, for every implementation: Python's `$` also matches before a final line break."""
TEXT_FILE = rf"\.(txt|md){END}"
"""What a name of a file ends in that `planrun test --update` may write, so that it never writes over a plan or SQL."""

DURATION = f"^(?:{_NUMBER}(?:{'|'.join(_SECONDS)}))+ *{END}"
SIZE = f"^{_NUMBER}(?:{'|'.join(_BYTES)}) *{END}"


def duration(text: str | float) -> float:
    """Return seconds: `5min`, `1h 30min`, `250ms`, `30d`, or a plain number of seconds. Raises ValueError."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    if not isinstance(text, str) or not re.fullmatch(DURATION, text):
        raise ValueError(f"{value_text(text)} is not a duration such as 250ms, 30s, 5min, 2h or 30d")
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?) *([a-z]+)", text)
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def size(text: str | int) -> int:
    """Return bytes: `64MB`, `8 kB` (1 kB is 1024 bytes, as in PostgreSQL), or a plain number. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str) or not re.fullmatch(SIZE, text):
        raise ValueError(f"{value_text(text)} is not a size such as 512kB, 64MB or 2GB")
    number, unit = re.findall(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]+)", text)[0]
    return int(float(number) * _BYTES[unit])


STORES = ("s3", "gs", "az")
"""The schemes of object stores, as their own tools write them."""

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)


def is_url(text: str) -> bool:
    """Return whether a text is the URL of an object store.

    >>> is_url("s3://bucket/backups"), is_url("/var/backups")
    (True, False)
    """
    found = _URL.fullmatch(text)
    return bool(found and found["scheme"] in STORES)


def place(text: str, folder: Path) -> str:
    """Return a place for sessions: the URL of an object store as it is, or the absolute path of a folder.

    Raises ValueError for what is neither. A user and a password in a URL are refused: they would be in the plan, the
    journal and the list of processes.
    """
    if text.startswith("file://"):
        return absolute(text.removeprefix("file://"), folder)
    found = _URL.fullmatch(text)
    if not found or found["scheme"] not in STORES:
        return absolute(text, folder)
    bucket, _, names = found["rest"].rstrip("/").partition("/")
    if "@" in bucket or ":" in bucket:
        raise ValueError("credentials in a URL: they come from the environment or the role of the machine")
    if not bucket or re.search(r"[?#\x00-\x1f]|//|(^|/)\.\.?(/|$)", names):
        raise ValueError(f"{value_text(text)} is not a bucket and names in it, such as s3://bucket/backups")
    return text.rstrip("/")


_SHELL_VARIABLE = re.compile(r"\$\{?[A-Za-z_]\w*\}?")


def absolute(text: str, folder: Path) -> str:
    """Return the absolute form of a path in a plan: `~` is the home folder, a relative path starts at `folder`.

    Raises ValueError also for a shell variable such as $HOME and for a URL: a folder of that name would be created.
    """
    if found := _URL.fullmatch(text):
        raise ValueError(f"{value_text(text)} is not a path: {found['scheme']}:// is not possible here")
    if found := _SHELL_VARIABLE.search(text):
        name = found[0].strip("${}")
        raise ValueError(
            f"{value_text(text)}: no shell replaces {found[0]} here; write ${{env.{name}}}, or ~ for your home"
        )
    try:
        return str((folder / Path(text).expanduser()).resolve())
    except (RuntimeError, ValueError, OSError) as exc:
        raise ValueError(f"{value_text(text)} is not a path: {exc}") from None


def value_text(value: Any) -> str:
    """Return a value as a plan writes it, cut to 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
