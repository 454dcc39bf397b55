"""The rules: which statements hold up others for longer than they must, by what they lock and do under the lock.

Each is true on every version of PostgreSQL that planrun supports; what a rule rests on is in safesql/lock_table.toml.
What a plan makes itself, in the same text or in a step before, holds up nobody and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from runner.safesql.lock_table import Certainty, LockMode
from runner.safesql.standin import NAME
from runner.safesql.statement_locks import OperationUse, StatementLocks
from runner.table_name import TableName


class Remark(NamedTuple):
    """What a rule says of a statement. offset: of the statement in the text, in characters."""

    offset: int
    code: str
    message: str
    hint: str


@dataclass
class Plan:
    """What the texts before did: the relations that they made, and the tables of which they validated a constraint."""

    made: set[TableName] = field(default_factory=set)
    validated: set[TableName] = field(default_factory=set)


@dataclass(frozen=True)
class Text:
    """A text of a step as the rules see it. sql: the text."""

    sql: str
    statements: Sequence[StatementLocks]
    transaction: bool
    plan: Plan

    def uses(self, one: StatementLocks) -> Iterator[OperationUse]:
        """Yield the operations on what was there before."""
        new = {lock.relation for lock in one.locks if lock.new}
        yield from (use for use in one.uses if use.relation is None or use.relation not in new)


def remarks(text: Text) -> Iterator[Remark]:
    """Yield what the rules say of a text, in the order of its statements."""
    for number, one in enumerate(text.statements):
        yield from _of_operations(text, number, one)
        yield from _of_settings(text, number, one)
        yield from _of_transaction(text, number, one)
    _learn(text)


def _learn(text: Text) -> None:
    for one in text.statements:
        text.plan.validated |= _validated_tables(one)


def _validated_tables(one: StatementLocks) -> set[TableName]:
    return {use.relation for use in one.uses if use.entry.name.endswith("VALIDATE CONSTRAINT") and use.relation}


def _name(table: TableName | None) -> str:
    """Return a name for people; that of a value that only the run knows is `...`."""
    return "..." if table is None or any(NAME in part for part in table) else str(table)


# ------------------------------------------------------------------ one operation


def _of_operations(text: Text, number: int, one: StatementLocks) -> Iterator[Remark]:
    for use in dict.fromkeys(text.uses(one)):
        name, table = use.entry.name, _name(use.relation)
        if name in _REWRITES:
            may = "may write" if use.entry.rewrite is Certainty.PERHAPS else "writes"
            message = f"{use.name} {may} {table} anew under an ACCESS EXCLUSIVE lock: nobody reads or writes meanwhile"
            yield Remark(one.offset, "PR1020", message, _REWRITES[name])
        elif name == "ALTER TABLE ... ALTER COLUMN SET NOT NULL" and not _is_proved(text, number, use):
            message = f"SET NOT NULL reads all rows of {table} under an ACCESS EXCLUSIVE lock"
            yield Remark(one.offset, "PR1021", message, _NOT_NULL)
        elif name in _FIXED and not (name == "CREATE INDEX" and use.only):
            code, words, hint = _FIXED[name]
            message = words.format(table=table, other=_name(use.other), name=use.name)
            yield Remark(one.offset, code, message, hint)


def _is_proved(text: Text, number: int, use: OperationUse) -> bool:
    """Return whether a CHECK of the table was validated before, which spares SET NOT NULL the scan."""
    before = {table for one in text.statements[:number] for table in _validated_tables(one)}
    return use.relation in before | text.plan.validated


_LATER = "add the column without it, set it for new rows by ALTER COLUMN SET DEFAULT, and fill old rows in batches"
_NEW_COLUMN = "add a new column, keep it up to date by a trigger, fill old rows in batches, then change the names"
_REWRITES = {
    "ALTER TABLE ... ADD COLUMN with a volatile default": _LATER,
    "ALTER TABLE ... ADD COLUMN of a serial type": _LATER,
    "ALTER TABLE ... ADD COLUMN as identity": _LATER,
    "ALTER TABLE ... ADD COLUMN generated and stored": "fill a plain column by a trigger, and old rows in batches",
    "ALTER TABLE ... ADD COLUMN with a default by a user's function": f"only a volatile function does: {_LATER}",
    "ALTER TABLE ... ALTER COLUMN TYPE": f"not from varchar to a longer varchar or text; else {_NEW_COLUMN}",
    "ALTER TABLE ... ALTER COLUMN SET EXPRESSION": "a stored column is written anew; add another column instead",
    "ALTER TABLE ... SET LOGGED": "make the table logged while it is small, or in a maintenance window",
    "ALTER TABLE ... SET UNLOGGED": "make the table unlogged while it is small, or in a maintenance window",
    "ALTER TABLE ... SET TABLESPACE": "do it in a maintenance window, or move the rows to a new table",
    "ALTER TABLE ... SET ACCESS METHOD": "do it in a maintenance window, or move the rows to a new table",
    "VACUUM FULL": "VACUUM alone makes the space usable again; pg_repack returns it without the lock",
    "VACUUM FULL of the whole database": "VACUUM alone makes the space usable again",
    "CLUSTER": "pg_repack orders a table without the lock",
    "CLUSTER of the whole database": "pg_repack orders a table without the lock",
}
_NOT_NULL = (
    "before it: ADD CONSTRAINT c CHECK (column IS NOT NULL) NOT VALID, then, in a step of its own, VALIDATE CONSTRAINT"
    " c; SET NOT NULL then reads no row"
)
_VALIDATE = "add it NOT VALID, then VALIDATE CONSTRAINT in a step of its own, which lets others write"
_USING = "CREATE UNIQUE INDEX CONCURRENTLY in a step with `transaction: false`, then ADD CONSTRAINT ... USING INDEX"
_CONCURRENTLY = "write CONCURRENTLY, in a step of its own with `transaction: false`"
_EXPAND = "give the new name besides (a new column, a view of the old name), and take the old one away later"

_FIXED = {
    "ALTER TABLE ... ADD FOREIGN KEY": (
        "PR1022",
        "ADD FOREIGN KEY reads all rows of {table} while nobody can write to it or to {other}",
        _VALIDATE,
    ),
    "ALTER TABLE ... ADD CHECK": (
        "PR1023",
        "ADD CHECK reads all rows of {table} under an ACCESS EXCLUSIVE lock",
        _VALIDATE,
    ),
    "ALTER TABLE ... ADD NOT NULL": (
        "PR1023",
        "ADD NOT NULL reads all rows of {table} under an ACCESS EXCLUSIVE lock",
        _VALIDATE,
    ),
    "CREATE INDEX": (
        "PR1024",
        "CREATE INDEX lets nobody write to {table} while it builds the index",
        f"{_CONCURRENTLY}; of a partitioned table: ON ONLY, then CONCURRENTLY on each partition, then ATTACH",
    ),
    "REINDEX TABLE": (
        "PR1024",
        "REINDEX lets nobody write to {table} while it builds the indexes, and hardly anybody read",
        _CONCURRENTLY,
    ),
    "REINDEX INDEX": (
        "PR1024",
        "REINDEX lets nobody write to the table of {table} while it builds the index, and hardly anybody read",
        _CONCURRENTLY,
    ),
    "REINDEX of a schema or database": (
        "PR1024",
        "REINDEX lets nobody write to a table while it builds its indexes, and hardly anybody read",
        _CONCURRENTLY,
    ),
    "ALTER TABLE ... RENAME": ("PR1026", "{name}: clients that use the name {table} fail at once", _EXPAND),
    "ALTER TABLE ... RENAME COLUMN": ("PR1026", "{name}: clients that use the column of {table} fail at once", _EXPAND),
    "ALTER TABLE ... SET SCHEMA": ("PR1026", "{name}: clients that use the name {table} fail at once", _EXPAND),
    "ALTER TABLE ... ADD UNIQUE": (
        "PR1027",
        "ADD UNIQUE builds an index of {table} under an ACCESS EXCLUSIVE lock",
        _USING,
    ),
    "ALTER TABLE ... ADD PRIMARY KEY": (
        "PR1027",
        "ADD PRIMARY KEY builds an index of {table} under an ACCESS EXCLUSIVE lock",
        _USING,
    ),
    "ALTER TABLE ... ADD EXCLUDE": (
        "PR1027",
        "ADD EXCLUDE builds an index of {table} under an ACCESS EXCLUSIVE lock",
        "PostgreSQL has no other way: do it while the table is small, or in a maintenance window",
    ),
    "DROP INDEX": (
        "PR1030",
        "DROP INDEX waits for all who use the table of {table}, and all who come later wait for it",
        _CONCURRENTLY,
    ),
    "REFRESH MATERIALIZED VIEW": (
        "PR1031",
        "REFRESH MATERIALIZED VIEW lets nobody read {table} while its query runs",
        "write CONCURRENTLY, which needs a unique index on the view",
    ),
    "CREATE TABLE ... PARTITION OF": (
        "PR1032",
        "CREATE TABLE ... PARTITION OF locks {table} and its default partition in ACCESS EXCLUSIVE mode",
        "CREATE TABLE (LIKE ...), then ALTER TABLE ... ATTACH PARTITION, which lets others read and write",
    ),
    "ALTER TABLE ... DETACH PARTITION": (
        "PR1032",
        "DETACH PARTITION locks {table} with its default partition in ACCESS EXCLUSIVE mode",
        f"{_CONCURRENTLY}; PostgreSQL has no such way beside a default partition",
    ),
}
"""Code, message and hint of operations that have a gentler way."""


# ------------------------------------------------------------------ settings


def _of_settings(text: Text, number: int, one: StatementLocks) -> Iterator[Remark]:
    """Say where a strong lock comes after planrun's lock_timeout was switched off."""
    if one.strongest is None or one.strongest.strength < LockMode.SHARE.strength:
        return
    off = [turned for turned in map(_lock_timeout, _before(text, number)) if turned is not None]
    if off and off[-1]:
        message = f"{one.what} may wait for its lock without end, and all who come later wait behind it"
        hint = "leave planrun's lock_timeout of 10 s as it is, or set a time: set local lock_timeout = '2s'"
        yield Remark(one.offset, "PR1025", message, hint)


def _before(text: Text, number: int) -> Iterator[str]:
    """Yield the statements before one, each as its text."""
    starts = [one.offset for one in text.statements]
    yield from (text.sql[start:end] for start, end in pairwise(starts[: number + 1]))


def _lock_timeout(statement: str) -> bool | None:
    """Return whether a statement switches lock_timeout off; None if it is about something else."""
    words = statement.lower().replace("=", " ").replace(";", " ").split()
    words = [word for word in words if word not in ("local", "session", "to")]
    if words[:2] == ["set", "lock_timeout"] and len(words) > 2:
        return words[2].strip("'") in ("0", "default", "0s", "0ms")
    return True if words[:1] == ["reset"] and words[1:2] in (["lock_timeout"], ["all"]) else None


# ------------------------------------------------------------------ several statements in one transaction


def _of_transaction(text: Text, number: int, one: StatementLocks) -> Iterator[Remark]:
    held = _exclusive(text.statements[:number])
    if text.transaction and held:
        tables = ", ".join(map(_name, held))
        new = [table for table in _exclusive([one]) if table not in held]
        if new:
            message = f"{one.what} locks {_name(new[0])} while the transaction keeps {tables} locked from all others"
            hint = "use a step for each table, or take all locks first, in one LOCK TABLE"
            yield Remark(one.offset, "PR1028", message, hint)
        elif work := _long_work(text, one):
            message = f"{work} while the transaction keeps {tables} locked from all others"
            yield Remark(one.offset, "PR1029", message, "put it into a step of its own")
    if text.transaction and (value := _new_value(text, number)):
        message = f"the value {value} of an enum cannot be used before the transaction that adds it has committed"
        yield Remark(one.offset, "PR1033", message, "add the value in a step before")


def _exclusive(statements: Iterable[StatementLocks]) -> list[TableName]:
    """Return the relations that statements lock from all others; LOCK TABLE takes all at once, in one order."""
    return list(
        dict.fromkeys(
            lock.relation
            for one in statements
            for lock in one.locks
            if lock.is_named and lock.certain and not lock.new and lock.mode is LockMode.ACCESS_EXCLUSIVE
            if one.what not in ("LOCK TABLE", *_QUICK)
        )
    )


_QUICK = ("DROP VIEW", "CREATE OR REPLACE VIEW")


def _long_work(text: Text, one: StatementLocks) -> str:
    """Return what a statement does that takes long on a large table, or ""."""
    for use in text.uses(one):
        name, table = use.entry.name, _name(use.relation)
        if name in ("UPDATE", "DELETE", "MERGE") or name.endswith("VALIDATE CONSTRAINT") or name == "CREATE INDEX":
            return f"{use.name.rpartition(' ... ')[2]} works on the rows of {table}"
    return ""


def _new_value(text: Text, number: int) -> str:
    """Return the label that a statement before adds to an enum and this one uses, quoted as SQL does; or ""."""
    here = text.sql[text.statements[number].offset :]
    ends = [one.offset for one in text.statements[number + 1 :]]
    here = here[: ends[0] - text.statements[number].offset] if ends else here
    for one, statement in zip(text.statements, _before(text, number), strict=False):
        if one.what == "ALTER TYPE ... ADD VALUE" and (value := _first_literal(statement)) and value in here:
            return value
    return ""


def _first_literal(statement: str) -> str:
    _, quote, rest = statement.partition("'")
    return f"'{rest.partition(chr(39))[0]}'" if quote else ""
