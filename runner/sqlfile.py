"""Read SQL from a file under sql/ that is not a template: replace each `{{ name }}` by a token that is already SQL.

Files with conditions or loops are templates (`runner/safesql/templates.py`). A body of PL/pgSQL is a file `.plpgsql`:
its values are inside dollar quotes, where a template must not put any.
"""

from __future__ import annotations

import re
from functools import cache

from runner import resources
from runner.sqltext import SqlText

_PLACE = re.compile(r"\{\{ (\w+) \}\}")


@cache
def read(name: str) -> SqlText:
    """Return the SQL of a file under sql/, such as `planrun/ledger.sql`."""
    return SqlText((resources.SQL / name).read_text(encoding="utf-8"))


def fill(file: str, /, **tokens: SqlText) -> SqlText:
    """Return the SQL of a file with each `{{ name }}` replaced. Raises KeyError for a missing or an unused token."""
    text = read(file)
    places = set(_PLACE.findall(text))
    if odd := places ^ tokens.keys():
        raise KeyError(f"{file}: {', '.join(sorted(odd))}")
    return SqlText(_PLACE.sub(lambda place: tokens[place[1]], text))
