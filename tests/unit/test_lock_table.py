"""Every entry of the lock table against real servers: pg_locks, the files of relations, rows read, transactions."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import resources
from runner.safesql import pg_query
from runner.safesql.alter_table import INTERNAL, PARTITIONS, SIMPLE, SUB_COMMANDS
from runner.safesql.lock_table import Certainty, LockMode, Relative, operations, operations_of
from runner.safesql.operations import NO_TABLES, READERS, ROWS
from runner.safesql.statement_locks import RelationLock, StatementLocks, statement_locks
from runner.safesql.syntax import BadSql
from runner.safesql.templates import Templates
from tests import servers

FIXTURE = Path(__file__).parents[1] / "locks.sql"
MAJORS = servers.majors_to_compare()
UNCHECKED = re.compile("Not checked by an example")

NAMES = """
    select c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, pg_stat_get_xact_tuples_returned(c.oid)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('app', 'other', 'public')
"""
LOCKS = """
    select relation, mode from pg_locks
    where pid = {} and locktype = 'relation'
      and database = (select oid from pg_database where datname = current_database())
"""

Row = tuple[Any, ...]
Modes = dict[int, LockMode]


@dataclass(frozen=True)
class Seen:
    """What a statement did: the strongest mode on each relation by OID, and which were written anew, which read."""

    modes: Modes
    rewritten: set[int]
    scanned: set[int]


@pytest.fixture(params=MAJORS, ids=lambda major: f"pg{major}")
def database(request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """A major version, and a conninfo of the fixture on it."""
    with servers.local(servers.servers_here()[request.param]) as server:
        conninfo = server.create("locks")
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for text in FIXTURE.read_text().split(";\n"):
                connection.execute(text.encode())
        yield request.param, conninfo


def see(connection: psycopg.Connection[Row], example: str) -> tuple[Seen, dict[int, str]]:
    before = {row[0]: row for row in connection.execute(NAMES)}
    connection.execute(example.encode())
    modes: Modes = {}
    for oid, name in connection.execute(LOCKS.format("pg_backend_pid()").encode()):
        if oid in before:
            modes[oid] = max(modes.get(oid, LockMode.ACCESS_SHARE), LockMode.of_server(name), key=strength)
    after = {row[0]: row for row in connection.execute(NAMES) if row[0] in before}
    tables = {oid for oid in after if before[oid][3] in "rpmi"}
    seen = Seen(
        modes=modes,
        rewritten={oid for oid in tables if after[oid][4] != before[oid][4]},
        scanned={oid for oid in tables if (after[oid][5] or 0) > (before[oid][5] or 0)},
    )
    return seen, {oid: row[3] for oid, row in before.items()}


def strength(mode: LockMode) -> int:
    return mode.strength


def resolve(connection: psycopg.Connection[Row], locks: tuple[RelationLock, ...]) -> list[set[int]]:
    """Return the OIDs of the relations of each lock, by the query that a diff asks."""
    text = Templates((resources.SQL,)).sql(
        "catalog/lock_relatives.sql.j2",
        schemas=[lock.relation.schema for lock in locks],
        names=[lock.relation.name for lock in locks],
        relatives=[lock.relative.name for lock in locks],
        most=1000,
    )
    found: list[set[int]] = [set() for _ in locks]
    for number, oid, *_ in connection.execute(text.encode()):
        found[number].add(oid)
    return found


@dataclass(frozen=True)
class Case:
    """An example of an entry, what is told of it, and the relations of each of its locks by OID."""

    name: str
    example: str
    told: tuple[StatementLocks, ...]
    relations: tuple[tuple[RelationLock, set[int]], ...]

    @property
    def anything(self) -> bool:
        return any(one.opaque for one in self.told) or any(
            lock.relative is Relative.EVERYTHING for lock, _ in self.relations
        )

    def modes(self, *, certain: bool) -> Modes:
        found: Modes = {}
        for lock, oids in self.relations:
            for oid in oids if lock.certain == certain else ():
                found[oid] = max(found.get(oid, lock.mode), lock.mode, key=strength)
        return found


def cases(connection: psycopg.Connection[Row], major: int) -> Iterator[Case]:
    examples = [
        (entry.name, example, statement_locks(example, major))
        for entry in operations_of(major).values()
        for example in (entry.examples if entry.since <= major <= entry.until else ())
    ]
    locks = [tuple(lock for one in told for lock in one.locks) for _, _, told in examples]
    oids = iter(resolve(connection, tuple(lock for each in locks for lock in each)))
    for (name, example, told), each in zip(examples, locks, strict=True):
        yield Case(name, example, told, tuple((lock, next(oids)) for lock in each))


def test_every_entry_is_what_the_server_does(database: tuple[int, str]) -> None:
    major, conninfo = database
    wrong = []
    with psycopg.connect(conninfo) as connection:
        for case in list(cases(connection, major)):
            connection.rollback()
            try:
                check(connection, conninfo, case)
            except (AssertionError, psycopg.Error) as exc:
                wrong.append(f"{case.name}: {case.example}: {exc}")
        connection.rollback()
    assert not wrong, "\n".join(wrong)


def check(connection: psycopg.Connection[Row], conninfo: str, case: Case) -> None:
    assert case.name in {use.entry.name for one in case.told for use in one.uses}, "the example is one of another entry"
    if case.told[-1].transaction is Certainty.NO:
        check_alone(connection, conninfo, case)
    else:
        check_inside(connection, case)


def check_inside(connection: psycopg.Connection[Row], case: Case) -> None:
    certain, perhaps = case.modes(certain=True), case.modes(certain=False)
    seen, kinds = see(connection, case.example)
    allowed = {**certain, **{oid: max(mode, certain.get(oid, mode), key=strength) for oid, mode in perhaps.items()}}
    for oid, mode in certain.items():
        assert seen.modes.get(oid) in (mode, allowed[oid]), f"{oid} is not locked in {mode} mode: {seen.modes}"
    for oid, mode in seen.modes.items():
        # indexes of a locked table, sequences of its defaults and composite types are not told
        told_of = oid in allowed or kinds[oid] not in "iISc"
        fits = oid in allowed and strength(mode) <= strength(allowed[oid])
        assert case.anything or fits or not told_of, f"{oid} ({kinds[oid]}) is locked in {mode} mode"
    check_rows(case, seen, kinds, certain)


def check_rows(case: Case, seen: Seen, kinds: dict[int, str], certain: Modes) -> None:
    rewrite = max((one.rewrite for one in case.told), key=list(Certainty).index)
    scan = max((one.scan for one in case.told), key=list(Certainty).index)
    files = {oid for oid in seen.rewritten if kinds[oid] in "rm"}
    if rewrite is Certainty.YES:
        assert seen.rewritten, "nothing was written anew"
    elif rewrite is Certainty.NO:
        assert case.anything or not files, f"{files} written anew"
    heavy = {oid for oid in seen.scanned & certain.keys() if strength(certain[oid]) >= 4}
    others = any(use.entry.name in READS_OTHERS for one in case.told for use in one.uses)
    if scan is Certainty.YES:
        assert seen.scanned or all(kinds[oid] == "p" for oid in certain), "no row was read"
    elif scan is Certainty.NO:
        assert case.anything or others or not heavy, f"{heavy} were read"


READS_OTHERS = (
    *("ALTER TABLE ... ATTACH PARTITION", "CREATE TABLE ... PARTITION OF", "ALTER DOMAIN that checks rows"),
    *("REINDEX INDEX", "LOCK TABLE"),
)
"""Entries that read rows of other relations than the one that they name, as their notes say."""


def check_alone(holder: psycopg.Connection[Row], conninfo: str, case: Case) -> None:
    """Check that a transaction block refuses it, and its first lock: another connection keeps it waiting for that."""
    with pytest.raises(psycopg.errors.ActiveSqlTransaction):
        holder.execute("select 1")
        holder.execute(case.example.encode())
    holder.rollback()
    for lock, oids in case.relations[:1]:
        if lock.is_named and lock.certain:
            with psycopg.connect(conninfo, autocommit=True) as worker:
                check_waiting(holder, worker, case.example, lock, oids)


def check_waiting(
    holder: psycopg.Connection[Row], worker: psycopg.Connection[Row], example: str, lock: RelationLock, oids: set[int]
) -> None:
    (table,) = [
        row[0]
        for row in holder.execute(
            "select coalesce((select indrelid from pg_index where indexrelid = %s), %s)::regclass::text", [*oids, *oids]
        )
    ]
    holder.execute(f"lock table {table} in share update exclusive mode".encode())
    thread = threading.Thread(target=run_cancelled, args=(worker, example))
    thread.start()
    try:
        found = waits_for(holder, worker.info.backend_pid)
    finally:
        worker.cancel_safe()
        thread.join()
    assert found == lock.mode


def run_cancelled(worker: psycopg.Connection[Row], example: str) -> None:
    with suppress(psycopg.errors.QueryCanceled):
        worker.execute(example.encode())


def waits_for(holder: psycopg.Connection[Row], pid: int) -> LockMode:
    text = LOCKS.format(pid) + " and not granted"
    for _ in range(500):
        if rows := holder.execute(text.encode()).fetchall():
            return LockMode.of_server(rows[0][1])
        time.sleep(0.01)
    raise AssertionError("it waits for no lock")


# ------------------------------------------------------------------ the table as a whole


def test_the_examples_of_every_entry_are_checked() -> None:
    for entry in operations():
        empty = UNCHECKED.search(entry.note) or entry.name in ("too deep", "not in the table")
        assert bool(entry.examples) != bool(empty), entry.name


def test_examples_are_sql_of_every_version_that_has_them() -> None:
    for entry in operations():
        for example in entry.examples:
            try:
                statement_locks(example)
            except BadSql as exc:
                pytest.fail(f"{example}: {exc.message}")


def test_entries_of_one_name_are_for_different_versions() -> None:
    seen: set[tuple[str, int]] = set()
    for entry in operations():
        versions = {(entry.name, major) for major in range(entry.since, entry.until + 1)}
        assert versions and not versions & seen, entry.name
        seen |= versions


def description() -> str:
    return pg_query._file("pg_query.desc").read_bytes().decode("ascii", errors="replace")


NO_STATEMENTS = {"raw_stmt", "return_stmt", "plassign_stmt", "replica_identity_stmt", "set_operation_stmt"}
"""Nodes that no text has as a statement of its own."""


def test_every_statement_of_the_parser_has_an_operation() -> None:
    names = set(re.findall(r"\b[A-Z][A-Za-z]+Stmt\b", description()))
    kinds = {re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in names} - NO_STATEMENTS
    alone = {"createdb_stmt", "dropdb_stmt", "alter_system_stmt", "create_table_space_stmt", "drop_table_space_stmt"}
    missing = kinds - READERS.keys() - NO_TABLES - set(ROWS) - alone
    assert not missing, "statements without an operation"


def test_every_sub_command_of_alter_table_has_an_operation() -> None:
    found = set(re.findall(r"AT_[A-Z][a-z][A-Za-z]+", description()))
    known = SIMPLE.keys() | SUB_COMMANDS.keys() | set(INTERNAL)
    assert found - known - set(PARTITIONS) == set()


def test_the_conflicts_of_modes_are_those_of_the_server(db: str) -> None:
    with psycopg.connect(db) as one, psycopg.connect(db) as other:
        one.execute("create table t ()")
        one.commit()
        for mode in LockMode:
            one.execute(f"lock table t in {mode} mode".encode())
            for wish in LockMode:
                refused = False
                try:
                    other.execute(f"lock table t in {wish} mode nowait".encode())
                except psycopg.errors.LockNotAvailable:
                    refused = True
                other.rollback()
                assert refused == (wish in mode.conflicts()), f"{mode} and {wish}"
            one.rollback()
