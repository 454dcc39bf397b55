"""The name of a relation: schema and name as one value, which formats itself for people and quotes itself for SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from runner.errors import PlanrunError
from runner.sqltext import SqlText, qualified
from runner.words import shown_name

_PART = r'"((?:[^"]|"")+)"|([^".]+)'
_NAME = re.compile(rf"(?:(?:{_PART})\.)?(?:{_PART})")


class TableName(NamedTuple):
    """Schema and name of a table, view, sequence or similar relation, unquoted; schema is "" if none was given.

    It compares, sorts and unpacks as the pair of both.

    >>> str(TableName("public", "users")), str(TableName("", "a.b")), TableName("public", "Area").sql
    ('public.users', '"a.b"', '"public"."Area"')
    """

    schema: str
    name: str

    def __str__(self) -> str:
        return shown_name(self.schema, self.name)

    @property
    def sql(self) -> SqlText:
        """The name as SQL, quoted and with its schema."""
        return qualified(self.schema, self.name)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return the name in the fields `schema` and `name` of a catalog row or of the output of a step."""
        return cls(row["schema"], row["name"])

    @classmethod
    def parse(cls, given: str | int | Mapping[str, Any]) -> Self:
        """Parse a name in a plan. Names are taken as written, whatever their case. In YAML `[2024]` is a number.

        Raises PlanrunError if it is not a name.

        >>> str(TableName.parse("Area")), TableName.parse('sales."a.b"')
        ('"Area"', TableName(schema='sales', name='a.b'))
        >>> str(TableName.parse({"schema": "s", "name": "t"})), str(TableName.parse(2024))
        ('s.t', '"2024"')
        """
        if isinstance(given, int):
            return cls("", str(given))
        if isinstance(given, Mapping):
            if not isinstance(given.get("name"), str):
                raise PlanrunError(f"a table must have a name: {dict(given)!r}", code="PR0311")
            return cls(str(given.get("schema") or ""), given["name"])
        match = _NAME.fullmatch(given)
        if not match:
            raise PlanrunError(
                f"{given!r} is not a table's name",
                hint='write schema.name, or "a.b" for a name with a dot in it',
                code="PR0311",
            )
        first, second, third, fourth = (part and part.replace('""', '"') for part in match.groups())
        return cls(first or second or "", third or fourth or "")


class Named:
    """A base for classes with fields `schema` and `name`, which gives them a TableName."""

    schema: str
    name: str

    @property
    def full_name(self) -> TableName:
        return TableName(self.schema, self.name)
