"""All targets, and how many inputs each gets of a number for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.fuzz import catalog, folders, language, records, sql
from tests.fuzz.running import Target

ALL: Sequence[Target] = (
    *(language.YAML, language.LAYOUT, language.PLAN, language.GUARD, language.VALUES),
    *(sql.TEMPLATES, sql.SQLTEXT, sql.NAMES, sql.RENAMED),
    *(records.MANIFEST, records.SESSIONS, records.JOURNAL, records.LEDGER, records.CATALOG_FILE, folders.VERIFIED),
    *(catalog.DEPENDENTS, catalog.RELATIONS),
)


def shares(runs: int, chosen: Sequence[Target] = ALL) -> Iterator[tuple[Target, int]]:
    """Yield each target with its share of the inputs, at least one."""
    whole = sum(target.weight for target in chosen)
    for target in chosen:
        yield target, max(round(runs * target.weight / whole), 1)
