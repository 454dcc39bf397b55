"""Find what a program dropped, emptied or rewrote in a database, and whether a backup contains it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from runner.backup import sessions
from runner.cancel import Cancel
from runner.database.blockers import Watch
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import ConnectError, TargetError, VerifyError
from runner.model import Survey
from runner.table_name import Named, TableName

TOGETHER = 500
"""Tables asked about in one query: the server's lock table has room for 6400 objects by default."""

_SETTINGS: Mapping[str, Any] = {"statement_timeout": "60s", "lock_timeout": "5s", "row_security": "off"}
_REPLACE = ("--replace",)
_BESIDE = ("--as-schema", "restored")
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table", "S": "sequence"}


@dataclass(frozen=True, kw_only=True)
class Relation(Named):
    """One relation at one moment. columns: names by number. rows: whether there is one, None if the role may not read
    it.

    root: OID of the partitioned table that it is a part of, else 0.
    """

    oid: int
    schema: str
    name: str
    kind: str
    storage: int
    columns: Mapping[str, str]
    root: int
    rows: bool | None


@dataclass(frozen=True, kw_only=True)
class Change(Named):
    """What happened to a relation; lost: whether rows or a definition are gone. back: options of the restore for it."""

    schema: str
    name: str
    what: str
    lost: bool = True
    back: tuple[str, ...] = ()


Seen = Mapping[int, Relation]


def look(
    survey: Survey, connections: Connections, watch: Watch, cancel: Cancel, before: Seen | str | None = None
) -> Seen | str:
    """Return every relation by its OID, or the reason why planrun cannot read them; that does not stop the program.

    Only tables that had rows `before` are checked for rows; planrun waits up to 5 s for a locked table.
    """
    if isinstance(before, str):
        return before
    try:
        with watch.over(survey.connection), translate_errors(), _open_reader(survey, connections, cancel) as conn:
            found = conn.execute(survey.query).fetchall()
            asked = [row for row in found if row.pop("readable") and (before is None or _had_rows(before, row["oid"]))]
            filled = {row["oid"]: rows for row, rows in _with_rows(conn, asked)}
    except (ConnectError, TargetError) as exc:
        cancel.check()
        return exc.message
    return {row["oid"]: Relation(**row, rows=filled.get(row["oid"])) for row in found}


@contextlib.contextmanager
def _open_reader(
    survey: Survey, connections: Connections, cancel: Cancel
) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with (
        contextlib.closing(connections.open(survey.connection, read_only=True, **_SETTINGS)) as conn,
        cancellable(conn, cancel),
    ):
        yield conn


def _had_rows(before: Seen, oid: int) -> bool:
    return oid not in before or bool(before[oid].rows)


def _with_rows(
    conn: psycopg.Connection[dict[str, Any]], asked: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    for start in range(0, len(asked), TOGETHER):
        some = asked[start : start + TOGETHER]
        each = (f"exists (select from only {TableName.of(row).sql})" for row in some)
        row = conn.execute(f"select array[{', '.join(each)}] as filled").fetchone()
        yield from zip(some, row["filled"] if row else (), strict=True)


def changes(before: Seen | str, after: Seen | str) -> list[Change]:
    """Return what was dropped, emptied, rewritten, renamed or has lost columns, by schema and name."""
    if isinstance(before, str) or isinstance(after, str):
        return [
            Change(
                schema="",
                name="",
                what=f"planrun cannot tell what changed: {before if isinstance(before, str) else after}",
            )
        ]
    named = {one.full_name: one for one in after.values()}
    found = (_change(old, after.get(oid), named) for oid, old in before.items() if old.root == 0 or old.root in after)
    return [one for one in found if one]


def _change(old: Relation, new: Relation | None, named: Mapping[TableName, Relation]) -> Change | None:
    if new is None:
        return _drop_of(old, named.get(old.full_name))
    gone = [name for number, name in old.columns.items() if number not in new.columns]
    if old.rows and new.rows is False:
        return Change(schema=old.schema, name=old.name, what="emptied", back=_REPLACE)
    if gone:
        return Change(schema=old.schema, name=old.name, what=f"has lost {', '.join(gone)}", back=_BESIDE)
    if old.kind == "r" and old.rows and old.storage != new.storage:
        return Change(schema=old.schema, name=old.name, what="rewritten", back=_BESIDE)
    if old.full_name != new.full_name:
        return Change(schema=old.schema, name=old.name, what=f"now {new.full_name}", lost=False)
    return None


def _drop_of(old: Relation, again: Relation | None) -> Change:
    what = f"{_KINDS[old.kind]} dropped"
    if again is None:
        return Change(schema=old.schema, name=old.name, what=what)
    empty = ", now empty" if old.rows and again.rows is False else ""
    return Change(schema=old.schema, name=old.name, what=f"{what} and created again{empty}", back=_REPLACE)


def saved_tables(folders: Sequence[str], run: str) -> dict[TableName, str]:
    """Return in which session of this run each table is, by schema and name: the path of the newest."""
    found: dict[TableName, str] = {}
    for folder in map(Path, folders):
        for one in sessions.facts(folder):
            if one.state != "complete":
                continue
            try:
                manifest = sessions.read(folder / one.name)
            except VerifyError:  # the session was removed meanwhile
                continue
            if manifest.run == run:
                found |= {table.full_name: one.name for table in manifest.tables}
    return found


def results(
    found: Sequence[Change], held: Mapping[TableName, str], restore: Callable[..., str]
) -> list[dict[str, Any]]:
    """Return each change as data; first those that lost something which no backup of this run contains.

    restore: returns the command that restores, given the session and its options.
    """
    made = []
    for one in found:
        session = held.get(one.full_name, "") if one.lost else ""
        command = restore(session, "--table", str(one.full_name), *one.back) if session else ""
        made.append(
            {"schema": one.schema, "name": one.name, "what": one.what}
            | {"lost": one.lost, "session": session, "restore": command}
        )
    return sorted(made, key=lambda one: (bool(one["session"]), not one["lost"]))
