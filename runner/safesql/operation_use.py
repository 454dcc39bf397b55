"""An operation of the lock table upon relations, as a statement has it."""

from __future__ import annotations

from typing import NamedTuple

from runner.safesql.lock_table import LockMode
from runner.table_name import TableName


class ColumnChange(NamedTuple):
    """Another type of a column. lengths: as in numeric(10, 2). plain: it comes without USING, COLLATE and []."""

    column: str
    type: TableName
    lengths: tuple[int, ...]
    plain: bool


class Use(NamedTuple):
    """An operation upon relations. operation: its name in the lock table. relation: what it works on, if it has a name;
    a schema, a role or a type where the table says in_schema, of_owner or with_type. other: the second relation.
    only: children are left out. mode: what LOCK TABLE asks for. detail: what people see behind the operation's name.
    change: of ALTER COLUMN TYPE.
    """

    operation: str
    relation: TableName | None = None
    other: TableName | None = None
    only: bool = False
    mode: LockMode | None = None
    detail: str = ""
    change: ColumnChange | None = None


NO_TABLE = "no table"
USER_FUNCTION = "a user's function"
TOO_DEEP = "too deep"
NOT_IN_TABLE = "not in the table"
PLACEHOLDERS = (NO_TABLE, TOO_DEEP, NOT_IN_TABLE)
"""Operations whose name says nothing of the statement; `detail` does."""
