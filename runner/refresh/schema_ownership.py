"""Whether schema planrun of a database can be trusted: who owns it, and what code would run when planrun writes there.

Any role that may create a schema could have created it first, with a journal that is a view or has a trigger or rule:
its code would run with planrun's rights, and it could forge the record of planrun's objects. So it must belong to this
role, to one that this role is a member of, or to a superuser, who has all rights anyway. A superuser is a member of
every role, so for a superuser only the first and the last count. Reading needs less trust: reading a plain table runs
no code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner import sqlfile
from runner.errors import TargetError

Ask = Callable[[str], Sequence[Mapping[str, Any]]]

QUERY = sqlfile.read("planrun/foreign.sql")


def refuse_foreign(ask: Ask, *, looking: bool = False) -> None:
    """Raise TargetError if schema planrun, or a table that planrun reads or writes in it, belongs to another role.

    ask: runs one of planrun's queries, with an empty search_path, and returns its rows. looking: the data is only
    shown, and nothing is written.
    """
    found = [row for row in ask(QUERY) if row["looking"] or not looking]
    if not found:
        return
    raise TargetError(
        f"schema planrun cannot be trusted by {found[0]['role']}: {'; '.join(row['problem'] for row in found)}",
        hint="check who created it. If that role is right, connect as it. Otherwise rename the schema and run again: "
        "alter schema planrun rename to planrun_of_somebody",
        sqlstate="42501",
        code="PR0412",
    )
