"""Objects that belong to tables but are not in a dump of single tables: extended statistics, publication memberships.

pg_dump -t leaves both out, so they would be lost if a table were dropped and restored. The manifest contains them for
planrun, and `attachments.ddl` for psql. Source: PostgreSQL docs, pg_dump (Notes on --table).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runner import resources
from runner.backup.manifest import Attachment
from runner.safesql.templates import Templates
from runner.table_name import TableName
from runner.words import shown_name

FILE = "attachments.ddl"

Ask = Callable[[str], Sequence[Mapping[str, Any]]]


def query(tables: Iterable[TableName], major: int) -> str:
    """Return the query that finds the attachments of these tables; `major` is the server's major version."""
    pairs = list(tables)
    values = {"schemas": [schema for schema, _ in pairs], "names": [name for _, name in pairs]}
    return Templates((resources.SQL,)).sql("pg_dump/attachments.sql.j2", **values, major=major)


def as_file(found: Iterable[Attachment]) -> str:
    """Return the text of attachments.ddl, for psql; "" if the tables have no attachments."""
    every = list(found)
    return (
        "-- Statistics and publications of the tables of this session. Run this after the tables are restored.\n"
        + _script(every)
        if every
        else ""
    )


def _script(found: Iterable[Attachment]) -> str:
    return "".join(one.ddl for one in found)


def display_name(one: Attachment) -> str:
    """Return a name for people: `statistics public.s of public.t`."""
    return f"{one.kind} {one.full_name} of {shown_name(one.table_schema, one.table_name)}"


def statements(found: Sequence[Attachment], ask: Ask) -> tuple[list[str], list[str]]:
    """Return the SQL that creates missing attachments, and a line for each that cannot be created."""
    words = ("kind", "schema", "name", "table_schema", "table_name")
    values = {f"{word}s": [getattr(one, word) for one in found] for word in words}
    rows = ask(Templates((resources.SQL,)).sql("pg_restore/attachments.sql.j2", **values)) if found else ()
    made: list[str] = []
    left: list[str] = []
    for row in rows:
        one = found[row["at"]]
        if row["reason"]:
            left.append(f"{display_name(one)}: {row['reason']}; to create it, run: {' '.join(one.ddl.split())}")
        elif not row["there"]:
            made.append(one.ddl)
            if one.kind == "statistics":
                made.append(f"ALTER STATISTICS {one.full_name.sql} OWNER TO {row['owner']};\n")
    return made, left
