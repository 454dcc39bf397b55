"""Whether another type of a column makes PostgreSQL write its table anew, by the type that the column has now.

The old values stay as they are where the new type stores them alike and takes all of them (docs, ALTER TABLE, Notes;
ATColumnChangeRequiresRewrite in tablecmds.c).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.safesql.lock_table import Certainty
from runner.safesql.statement_locks import OperationUse

Ask = Callable[[str], list[dict[str, Any]]]

_WITH_LENGTH = ("varchar", "varbit")
_HEADER = 4
"""Bytes that the modifier of varchar counts besides the length."""


def rewrites(uses: Sequence[OperationUse], ask: Ask, template: Callable[..., str]) -> dict[OperationUse, Certainty]:
    """Return whether each change of a type rewrites; those of tables or columns that are not there are left out."""
    changes = [(use, use.relation, use.change) for use in uses if use.relation and use.change]
    if not changes:
        return {}
    text = template(
        "catalog/type_changes.sql.j2",
        schemas=[table.schema for _, table, _ in changes],
        tables=[table.name for _, table, _ in changes],
        columns=[change.column for _, _, change in changes],
        type_schemas=[change.type.schema for _, _, change in changes],
        type_names=[change.type.name for _, _, change in changes],
    )
    return {changes[row["number"]][0]: _rewrite(row, changes[row["number"]][2]) for row in ask(text)}


def _rewrite(row: Mapping[str, Any], change: Any) -> Certainty:
    if row["of_domain"] or not change.plain:
        return Certainty.PERHAPS
    if not row["same"] and not row["binary_coercible"]:
        # timestamp and timestamptz are alike where the time zone is UTC
        return Certainty.PERHAPS if row["old"].startswith("timestamp") else Certainty.YES
    if not change.lengths:
        return Certainty.NO
    if row["same"] and row["old"] in _WITH_LENGTH:
        header = _HEADER if row["old"] == "varchar" else 0
        fits = row["modifier"] >= 0 and change.lengths[0] >= row["modifier"] - header
        return Certainty.NO if fits else Certainty.YES
    return Certainty.PERHAPS if row["same"] else Certainty.YES
