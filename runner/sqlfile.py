"""SQL in a file under sql/ that needs no template: each `{{ name }}` is replaced by a token that is SQL already.

What decides or loops is a template (`runner/safesql/templates.py`). A body of PL/pgSQL is a file `.plpgsql`: its values
stand inside dollar quotes, where a template may put none.
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
    """Return the SQL of a file with each `{{ name }}` replaced. Raises KeyError for a place or a token too many."""
    text = read(file)
    places = set(_PLACE.findall(text))
    if odd := places ^ tokens.keys():
        raise KeyError(f"{file}: {', '.join(sorted(odd))}")
    return SqlText(_PLACE.sub(lambda place: tokens[place[1]], text))
