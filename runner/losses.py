"""What a step takes away for good, and what a step saves or proves, as far as a plan tells it before a run. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runner.table_name import TableName

Tables = tuple[TableName, ...] | None
"""Relations by name; None when only the run knows which they are."""


class Good(StrEnum):
    """What is at stake: rows that a backup saves, live tables that a refresh replaces, sessions that a dump follows."""

    ROWS = "rows"
    LIVE = "live tables"
    SETS = "backup sets"
    SESSIONS = "sessions"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One thing that a step may take away for good.

    what: in words, such as `drop table public.orders`. good: what is at stake. tables: whose rows go.
    schema: it hits every table of this schema. place: the connection or the folder; UNKNOWN if only a run knows it.
    opaque: the plan does not tell what this does; it may be nothing.
    """

    what: str
    good: Good = Good.ROWS
    tables: Tables = None
    schema: str = ""
    place: Any = ""
    opaque: bool = False


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What the success of a step gives: its `good` at `place` may be taken away after it.

    tables: what it holds. whole: all steps of this kind that come before are needed, not just one of them.
    """

    good: Good
    tables: Tables = None
    place: Any = ""
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class SqlEffects:
    """What a SQL text takes away, and the tables that it makes, which hold nothing that was there before."""

    losses: tuple[Loss, ...] = ()
    makes: tuple[TableName, ...] = ()


def same_table(one: TableName, other: TableName) -> bool:
    """Return whether two names may mean one table; a name without a schema means that of any.

    >>> same_table(TableName("", "t"), TableName("app", "t")), same_table(TableName("a", "t"), TableName("b", "t"))
    (True, False)
    """
    return one.name == other.name and (one.schema == other.schema or not (one.schema and other.schema))
