"""The functions and types that every PostgreSQL has, by name: what is not among them is a user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path


class Volatility(StrEnum):
    """Whether a function gives the same result for all rows of a statement; UNKNOWN for a user's function."""

    CALM = "stable or immutable"
    VOLATILE = "volatile"
    UNKNOWN = "unknown"


_RUN_TEXT = re.compile(r"(query|cursor|table|schema|database)_to_xml\w*|ts_stat|ts_rewrite")
"""Functions of PostgreSQL's own that run an SQL text, or read every table of a schema."""


@cache
def _names() -> dict[str, frozenset[str]]:
    """Return the names of each section of builtin_names.txt."""
    text = Path(__file__).with_name("builtin_names.txt").read_text(encoding="ascii")
    parts = re.split(r"^\[(.+)\]$", text, flags=re.MULTILINE)
    return {title: frozenset(names.split()) for title, names in zip(parts[1::2], parts[2::2], strict=True)}


def volatility(names: Sequence[str]) -> Volatility:
    """Return how a function behaves. names: the parts of its name.

    >>> volatility(["pg_catalog", "now"]), volatility(["random"]), volatility(["app", "now"])
    (<Volatility.CALM: 'stable or immutable'>, <Volatility.VOLATILE: 'volatile'>, <Volatility.UNKNOWN: 'unknown'>)
    """
    for each in (Volatility.VOLATILE, Volatility.CALM):
        if _is_built_in(names) and names[-1] in _names()[each]:
            return each
    return Volatility.UNKNOWN


def is_harmless(names: Sequence[str]) -> bool:
    """Return whether a function is PostgreSQL's own and runs no SQL text."""
    return volatility(names) is not Volatility.UNKNOWN and not _RUN_TEXT.fullmatch(names[-1])


def is_type(names: Sequence[str]) -> bool:
    """Return whether a type is PostgreSQL's own; names: the parts of its name."""
    return _is_built_in(names) and names[-1] in _names()["types"]


def _is_built_in(names: Sequence[str]) -> bool:
    return len(names) == 1 or names[0] == "pg_catalog"
