"""Whether schema planrun of a database is one to be believed: who owns it, and what would run when we write there.

Whoever may create a schema could have made it before us, with a journal that is a view, has a trigger or a rule: their
code would run with our rights, and the record of our objects would say what they want. So it must belong to this role,
to one that this role is a member of, or to a superuser, who needs no such way. A superuser is a member of every role,
so for one of them only the first and the last hold. To look is less: no code runs when an ordinary table is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner import sqlfile
from runner.errors import TargetError

Ask = Callable[[str], Sequence[Mapping[str, Any]]]

QUERY = sqlfile.read("planrun/foreign.sql")


def refuse_foreign(ask: Ask, *, looking: bool = False) -> None:
    """Raise TargetError when schema planrun, or what we read and write in it, is another role's.

    ask: runs a query of ours, with an empty search_path, and returns its rows. looking: what is read there is only
    shown, and nothing is written.
    """
    found = [row for row in ask(QUERY) if row["looking"] or not looking]
    if not found:
        return
    raise TargetError(
        f"schema planrun is not one that {found[0]['role']} may rely on: {'; '.join(row['problem'] for row in found)}",
        hint="check who made it. Connect as its owner when that is right; else put it aside and run again: "
        "alter schema planrun rename to planrun_of_somebody",
        sqlstate="42501",
        code="PR0412",
    )
