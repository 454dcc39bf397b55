"""What a step removes for good, and what a step saves or proves, as far as a plan shows it before a run. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from runner.record import dataclass
from runner.table_name import TableName

Tables = tuple[TableName, ...] | None
"""Relations by name; None if they are known only during the run."""


class Good(StrEnum):
    """What a step can remove: rows (a backup saves them), live tables (a refresh replaces them), sessions (a new dump
    follows)."""

    ROWS = "rows"
    LIVE = "live tables"
    SETS = "backup sets"
    SESSIONS = "sessions"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One thing that a step may remove for good.

    what: in words, such as `drop table public.orders`. good: the sort of thing. tables: those whose rows are lost.
    schema: all tables of this schema are affected. place: the connection or the folder; UNKNOWN before the run if not
    fixed.
    opaque: the plan does not show what this does; it may be nothing.
    """

    what: str
    good: Good = Good.ROWS
    tables: Tables = None
    schema: str = ""
    place: Any = ""
    opaque: bool = False


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What the success of a step allows: `good` at `place` may be removed after it.

    tables: those it contains. whole: all earlier steps of this kind are needed, not just one of them.
    """

    good: Good
    tables: Tables = None
    place: Any = ""
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class SqlEffects:
    """What a SQL text removes, and the tables that it creates, which contain no earlier data."""

    losses: tuple[Loss, ...] = ()
    makes: tuple[TableName, ...] = ()


def same_table(one: TableName, other: TableName) -> bool:
    """Return whether two names may mean one table; a name without a schema means that of any.

    >>> same_table(TableName("", "t"), TableName("app", "t")), same_table(TableName("a", "t"), TableName("b", "t"))
    (True, False)
    """
    return one.name == other.name and (one.schema == other.schema or not (one.schema and other.schema))
