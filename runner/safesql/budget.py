"""Limits of one template: rounds of its loops, characters, elements of a value and the size of a number.

A template is part of a plan that somebody else may have written. Jinja itself has no limits: four nested loops over 60
items are 13 million rounds, and thirty lines that each double a text make a gigabyte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.errors import PlanrunError

MAX_ROUNDS = 1_000_000
MAX_CHARACTERS = 16 * 1024 * 1024
MAX_ELEMENTS = 262_144
"""Elements of one list, including nested ones; 64 characters of a text count as one element."""

MAX_WIDTH = 10_000
"""The length of a row, or the width of a column, that a filter may produce."""

MAX_BITS = 4096
_MAKING = ("batch", "ljust", "rjust")


class TooMuch(PlanrunError):
    """A template that exceeds its limits."""

    exit_code = 5
    CODE = "PR0309"


class Budget:
    """The remaining limits of one template, together with all templates that it includes."""

    def __init__(self) -> None:
        self._rounds, self._characters = MAX_ROUNDS, MAX_CHARACTERS

    def spend(self, rounds: int, characters: int = 0) -> None:
        """Reduce the remaining rounds and characters. Raises TooMuch when none are left."""
        self._rounds -= rounds
        self._characters -= characters
        if self._rounds < 0:
            raise TooMuch(
                f"the template goes through more than {MAX_ROUNDS:,} rounds of its loops",
                hint="loop over fewer items, or let SQL do it: generate_series(), unnest()",
            )
        if self._characters < 0:
            raise TooMuch(
                f"the template produces more than {MAX_CHARACTERS // 1024**2} MiB of text",
                hint="loop over fewer items, or use several steps",
            )


def check_size(value: Any) -> Any:
    """Return the value if it is not too large. Raises TooMuch."""
    if _size(value, MAX_ELEMENTS) > MAX_ELEMENTS:
        raise _too_large()
    return value


def _too_large() -> TooMuch:
    hint = f"a text has at most {MAX_CHARACTERS // 1024**2} MiB, a list {MAX_ELEMENTS:,} elements"
    return TooMuch("a value in the template is too large", hint=hint)


def _size(value: Any, enough: int) -> int:
    """Count elements up to `enough`: a list may contain another one many times."""
    if isinstance(value, str):
        return 1 + len(value) // 64
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return 1
    total = 1
    for one in value:
        total += _size(one, enough - total)
        if total > enough:
            break
    return total


def fits(value: Any) -> None:
    """Raise TooMuch for a number with too many digits."""
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise TooMuch("a number in the template has too many digits")


def check_filter(name: str, value: Any) -> None:
    """Raise TooMuch for arguments that make a filter pad without limit or concatenate lists."""
    fits(value)
    if name in _MAKING and isinstance(value, int) and value > MAX_WIDTH:
        raise TooMuch(f"`{name}` produces at most {MAX_WIDTH:,} at once")
    if name == "sum" and isinstance(value, list | tuple):
        raise TooMuch("`sum` adds numbers", hint="put lists together with +")


def replace_text(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    """`text|replace(old, new)`: check the length of the result before building it."""
    whole, part, other = str(text), str(old), str(new)
    found = whole.count(part) if count is None or count < 0 else min(whole.count(part), count)
    if len(whole) + found * len(other) > MAX_CHARACTERS:
        raise _too_large()
    return whole.replace(part, other, -1 if count is None else count)
