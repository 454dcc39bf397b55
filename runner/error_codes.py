"""What each code of an error means: cause, example and cure, from error_codes.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CODE = re.compile(r"PR\d{4}")


@dataclass(frozen=True, kw_only=True)
class ErrorCode:
    """One kind of error. cause and cure are Markdown. plan: a whole plan that has the error, or "".

    example: a command or a message, where no plan alone shows it.
    """

    code: str
    title: str
    cause: str
    cure: str
    plan: str = ""
    example: str = ""


@cache
def error_codes() -> Mapping[str, ErrorCode]:
    """Return every code with its entry, in the order of the file."""
    entries = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {code: ErrorCode(code=code, **entry) for code, entry in entries.items()}
