"""Notes which tables of a sample a statement worked on that changes rows, also when it met none of the sample's rows.

A trigger for each statement is called even if no row matches. It sends a notification, which PostgreSQL delivers when
the transaction commits and forgets when it rolls back; nothing is written that the program could see (docs: NOTIFY).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner import sqlfile
from runner.database.connections import translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.scratch.contents import Contents
from runner.table_name import TableName


@dataclass(frozen=True)
class Notes:
    """The tables that are watched, by OID; a partition stands for the whole table.

    keys: the foreign keys that change their own table's rows: by which verb on which other table (OIDs).
    """

    tables: Mapping[int, TableName]
    keys: Sequence[tuple[str, int, int]]


def note(conn: DeadlineConnection, before: Contents) -> Notes:
    """Begin to watch all tables. Raises TargetError."""
    tables = {one.oid: one for one in before.tables.values()}
    roots = {one.oid: tables.get(one.root, one).full_name for one in tables.values()}
    with translate_errors("watching the tables of the scratch copy"):
        conn.execute(sqlfile.read("scratch/note_statements.sql").encode())
        for one in tables.values():
            conn.execute(sqlfile.fill("scratch/note_table.sql", table=one.full_name.sql).encode())
        conn.execute(b"listen planrun_trial")
        keys = conn.execute(sqlfile.read("scratch/key_actions.sql")).fetchall()
    return Notes(roots, tuple((row["verb"], row["parent"], row["child"]) for row in keys))


def noted(conn: DeadlineConnection, notes: Notes) -> dict[TableName, str]:
    """Return what ran on which table and has been committed, in words: the rows of a sample may not show it."""
    ran: dict[int, str] = {}
    with translate_errors("watching the tables of the scratch copy"):
        for one in conn.notifies(timeout=0.5):
            number, _, verb = one.payload.partition(" ")
            ran.setdefault(int(number), verb)
    found = {notes.tables[oid]: f"{verb} ran on it" for oid, verb in ran.items() if oid in notes.tables}
    reached = list(ran.items())
    while reached:
        oid, verb = reached.pop()
        for by, parent, child in notes.keys:
            if parent == oid and by == verb and child in notes.tables and notes.tables[child] not in found:
                found[notes.tables[child]] = f"{verb} on {notes.tables[oid]} reaches it by a foreign key"
                reached += [(child, "DELETE"), (child, "UPDATE")]
    return found
