"""Schema planrun of the target: whether its tables exist and can be trusted, and the SQL that creates them.

The comment of each table names its format. What 0.1 made names none, and has the first.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from runner import sqlfile
from runner.errors import TargetError
from runner.refresh import access, schema_ownership
from runner.refresh.schema_ownership import Ask
from runner.sqltext import SqlText

Part = Literal["journal", "ledger"]

FORMAT = 2
"""Of the tables that this version makes and reads."""

THERE = sqlfile.read("planrun/there.sql")
_TABLES = {"journal": ("journal",), "ledger": ("refresh", "member")}


class Present(NamedTuple):
    """What is there of it."""

    schema: bool = False
    journal: bool = False
    ledger: bool = False


def check(ask: Ask, *, looking: bool = False) -> Present:
    """Return what is there. ask: runs a query of ours and returns its rows. looking: nothing is written there.

    Raises TargetError when it is another role's, or when a newer planrun made it.
    """
    schema_ownership.refuse_foreign(ask, looking=looking)
    (row,) = ask(THERE)
    if row["format"] > FORMAT:
        raise TargetError(
            f"a newer planrun made the tables of schema planrun: their format is {row['format']}, "
            f"and this one knows {FORMAT}",
            hint="use that planrun or a newer one here: pip install --upgrade planrun",
            code="PR0412",
        )
    return Present(schema=row["schema"], journal=row["journal"], ledger=row["ledger"])


def create(part: Part, present: Present = Present()) -> SqlText:  # noqa: B008 - it is immutable
    """Return the SQL that makes the tables of a part, open to nobody else; "" when they are there.

    CREATE SCHEMA takes CREATE on the database, even IF NOT EXISTS when the schema is there: so it is left out then.
    """
    if getattr(present, part):
        return SqlText("")
    schema = SqlText("") if present.schema else sqlfile.read("planrun/schema.sql")
    close = access.close("planrun", *(_TABLES[part] if present.schema else ()))
    return SqlText(f"{schema}{sqlfile.read(f'planrun/{part}.sql')}{close};\n")


def refusal(what: str, message: str, *, role: str, database: str) -> TargetError:
    """Return the error of a role that may not make `what`, with the two ways to let it."""
    return TargetError(
        f"{what} cannot be made in schema planrun: {message}",
        hint=f"let an owner run: create schema planrun authorization {role}, "
        f"or: grant create on database {database} to {role}",
        sqlstate="42501",
        code="PR0411",
    )
