"""Real inputs of this repository, which the bad ones are made from."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LARGEST = 20_000
_FENCED = re.compile(r"^```ya?ml\n(.*?)^```", re.M | re.S)


def _texts(pattern: str, *folders: str) -> tuple[str, ...]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob(pattern))
    return tuple(t for path in paths if 0 < len(t := path.read_text(encoding="utf-8", errors="replace")) < _LARGEST)


@cache
def plans() -> tuple[str, ...]:
    """Return plans and templates: those that ship, those of the cases, those in the documentation."""
    documented = [found for page in _texts("*.md", "docs") for found in _FENCED.findall(page)]
    return (*_texts("*.yml", "plans", "tests/cases"), *documented)


@cache
def sql_templates() -> tuple[str, ...]:
    return _texts("*.j2", "sql", "tests/cases")


@cache
def sql() -> tuple[str, ...]:
    """Return SQL as it is run: what the cases prepare and what psql would be given."""
    return tuple(
        part for text in _texts("*.sql", "tests/cases") for part in re.split(r"\n(?=\S)", text) if part.strip()
    )


@cache
def guards() -> tuple[str, ...]:
    found = {each for text in plans() for each in re.findall(r"^\s*(?:- )?when: (.*)$", text, re.M)}
    more = (
        "a.b > 1 and not c.ok",
        "x in ['a', 'b']",
        "a == 'x' or b.count <= 10",
        "not (a.ok or b.ok)",
        "-1 < a.n < 5",
    )
    return (*sorted(found), *more)
