"""Read fields of journal records: a journal may come from anywhere, so a value of another type counts as missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Fields = Mapping[str, Any]


def text(of: Fields, name: str) -> str:
    """Return a text, "" if there is none."""
    value = of.get(name)
    return value if isinstance(value, str) else ""


def texts(of: Fields, name: str) -> tuple[str, ...]:
    value = of.get(name)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()


def number(of: Fields, name: str) -> float | None:
    """Return a number that is not negative, None if there is none."""
    value = of.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18 else None


def whole(of: Fields, name: str) -> int | None:
    found = number(of, name)
    return None if found is None else int(found)


def objects(of: Fields, name: str) -> tuple[Fields, ...]:
    """Return the JSON objects in a list."""
    value = of.get(name)
    return tuple(one for one in value if isinstance(one, Mapping)) if isinstance(value, Sequence) else ()


def mapping(of: Fields, name: str) -> Fields:
    value = of.get(name)
    return value if isinstance(value, Mapping) else {}


def moment(of: Fields, name: str = "at") -> datetime | None:
    """Return a time with its zone, None if there is none."""
    try:
        found = datetime.fromisoformat(text(of, name))
    except ValueError:
        return None
    return found if found.tzinfo else None
