"""Schema planrun of the target: whether its tables exist and can be trusted, and the SQL that creates them.

The comment of each table names its format. A table that 0.1 created names none and has format 1.
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
"""The format of the tables that this version creates and reads."""

THERE = sqlfile.read("planrun/there.sql")
_TABLES = {"journal": ("journal",), "ledger": ("refresh", "member")}


class Present(NamedTuple):
    """Which parts of schema planrun exist."""

    schema: bool = False
    journal: bool = False
    ledger: bool = False


def check(ask: Ask, *, looking: bool = False) -> Present:
    """Return what exists. ask: runs one of planrun's queries and returns its rows. looking: nothing will be written
    there.

    Raises TargetError if the schema belongs to another role, or if a newer planrun created it.
    """
    schema_ownership.refuse_foreign(ask, looking=looking)
    (row,) = ask(THERE)
    if row["format"] > FORMAT:
        raise TargetError(
            f"a newer planrun created the tables of schema planrun: their format is {row['format']}, "
            f"but this planrun knows only {FORMAT}",
            hint="use that planrun or a newer one here: pip install --upgrade planrun",
            code="PR0412",
        )
    return Present(schema=row["schema"], journal=row["journal"], ledger=row["ledger"])


def create(part: Part, present: Present = Present()) -> SqlText:  # noqa: B008 - it is immutable
    """Return the SQL that creates the tables of a part, closed to all other roles; "" if they exist.

    CREATE SCHEMA needs CREATE on the database, even with IF NOT EXISTS: so it is left out if the schema exists.
    """
    if getattr(present, part):
        return SqlText("")
    schema = SqlText("") if present.schema else sqlfile.read("planrun/schema.sql")
    close = access.close("planrun", *(_TABLES[part] if present.schema else ()))
    return SqlText(f"{schema}{sqlfile.read(f'planrun/{part}.sql')}{close};\n")


def refusal(what: str, message: str, *, role: str, database: str) -> TargetError:
    """Return the error for a role that may not create `what`, with the two ways to allow it."""
    return TargetError(
        f"{what} cannot be created in schema planrun: {message}",
        hint=f"an owner can run: create schema planrun authorization {role}, "
        f"or: grant create on database {database} to {role}",
        sqlstate="42501",
        code="PR0411",
    )
