"""Name the connections that hold locks on tables which a step is about to lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.table_name import TableName
from runner.words import plural, seconds, shown_name

if TYPE_CHECKING:
    from runner.refresh.ledger import Ask


def lock_holders(names: Sequence[TableName], ask: Ask, template: Callable[..., str]) -> tuple[str, ...]:
    """Return a line for each connection that holds a lock on one of the tables now, the oldest transaction first."""
    if not names:
        return ()
    rows = ask(template("server/lock_holders.sql.j2", names=[str(one.sql) for one in names]))
    return tuple(map(_line, rows))


def _line(row: Mapping[str, Any]) -> str:
    if row["pid"] is None:
        return f"a prepared transaction, on {row['relation']} (select * from pg_prepared_xacts)"
    more = f" and {plural(row['relations'] - 1, 'other')}" if row["relations"] > 1 else ""
    return f"{holder_line(row)} on {row['relation']}{more}"


def holder_line(row: Mapping[str, Any]) -> str:
    """Return who holds a lock: `pid 7 (app, idle in transaction, 5 min 3 s)`."""
    if row["pid"] is None:
        return "a prepared transaction (select * from pg_prepared_xacts)"
    name = "autovacuum" if row["autovacuum"] else row["application"] or row["user"]
    words = [shown_name("", name) if name else "", row["state"] or ""]
    words += [seconds(max(row["seconds"], 0))] if row["seconds"] is not None else []
    return f"pid {row['pid']} ({', '.join(word for word in words if word)})"
