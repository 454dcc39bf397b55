"""Scratch copies of all databases of a plan, for as long as a block runs.

    with scratch_copies(plan, env, rows=Rows.SAMPLE, cancel=cancel) as made:
        led = redirection.redirect(plan, env, made.words)

What the copy of a database holds: its structure with owners, grants, roles and settings (all of it as no superuser),
where its sequences stand, planrun's ledger, and the rows that are asked for; all of one snapshot. What it cannot hold
is in `left_out` of each copy. The originals are only read, and nothing holds their snapshots or locks once the block
begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import sqlfile
from runner.backup.snapshot import Snapshot
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import TargetError
from runner.model import Plan
from runner.scratch import place as places
from runner.scratch import structure
from runner.scratch.place import Database, Original, Place
from runner.scratch.program_watch import ProgramWatch
from runner.scratch.rows import SAMPLE, Filled, Filler, Rows
from runner.scratch.structure import LeftOut, Restorer
from runner.server import embedded
from runner.sqltext import literal, qualified
from runner.table_name import TableName

_TABLES = sqlfile.read("scratch/tables.sql")
_READABLE = f"select * from ({_TABLES.rstrip()}) as t where t.readable"
Say = Callable[[str], object]

_LEDGER = ("refresh", "member")
"""planrun's own tables whose rows are always copied; the journal of the copy begins empty."""


@dataclass(frozen=True, kw_only=True)
class ScratchCopy:
    """The copy of one database. connections: the names that lead to it. of: the original, for people.

    database, version, private: what it is called, and on which server. same_major: whether that is of the original's
    major version. rows, tables: how many rows were copied, and how many tables have some. left_out: what it lacks.
    reader: libpq words of a role that owns or may see everything in it, and is no superuser. programs: watches what
    programs do there; None on a named server.
    """

    connections: tuple[str, ...]
    of: str
    database: str
    version: str
    private: bool
    same_major: bool
    rows: int
    tables: int
    left_out: tuple[LeftOut, ...]
    reader: Mapping[str, str]
    programs: ProgramWatch | None = None


@dataclass(frozen=True, kw_only=True)
class ScratchCopies:
    """All copies. words: connection name -> libpq words, as `redirection.redirect` takes them.

    folder: for files that belong to the copies; it goes with them, also after SIGKILL. env: the environment in which
    `words` and `reader` of a copy connect.
    """

    copies: tuple[ScratchCopy, ...]
    words: Mapping[str, Mapping[str, str]]
    env: Mapping[str, str]
    folder: Path


def _say_nothing(text: str) -> None:
    pass


@contextlib.contextmanager
def scratch_copies(
    plan: Plan,
    env: Mapping[str, str],
    *,
    rows: Rows = Rows.NONE,
    number: int = SAMPLE,
    server: Mapping[str, str] | None = None,
    cancel: Cancel,
    say: Say = _say_nothing,
    learn: Callable[..., object] = _say_nothing,
) -> Iterator[ScratchCopies]:
    """Make a scratch copy of every database that the plan's connections lead to; drop them at the end.

    rows: which rows are copied; number: how many of each table, for a sample. server: libpq words of a server where
    databases may be created, None for private servers of the major versions of the originals, as far as they are on
    this machine. say: called with what it does now. learn: called with each password that it meets. Raises ConnectError
    if a database cannot be reached, TargetError if there is no server for a copy or a structure cannot be read.
    """
    connections = Connections(plan.connections, env, application=places.MARKER, cancel=cancel)
    connections.learn = learn
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(embedded.private_folder())
        maker = _Maker(stack, connections, env, rows, number, server, cancel, say, folder)
        made = [maker.make(names) for names in _databases(connections, plan)]
        words = {name: each for _, given in made for name, each in given.items()}
        for each in words.values():
            learn(each.get("password", ""))
        yield ScratchCopies(
            copies=tuple(copy for copy, _ in made),
            words=words,
            env=places.alone(next(iter(words.values()))),
            folder=folder,
        )


def _databases(connections: Connections, plan: Plan) -> list[dict[str, str]]:
    """Return connection name -> role of each different database, the default connection's first."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    names = sorted(plan.connections, key=lambda name: name != connections.default()) or [""]
    for name in names:
        with contextlib.closing(connections.open(name, read_only=True)) as conn, translate_errors():
            row = conn.execute(sqlfile.read("server/database_identity.sql")).fetchall()[0]
            server = f"{conn.info.host}:{conn.info.port}"
            if row["may_ask"]:
                server = str(conn.execute(sqlfile.read("server/system_identifier.sql")).fetchall()[0])
        found.setdefault((server, row["oid"]), {})[name] = row["role"]
    return list(found.values())


@dataclass
class _Maker:
    """Makes copies one after the other, on one private server for each major version."""

    stack: contextlib.ExitStack
    connections: Connections
    env: Mapping[str, str]
    rows: Rows
    number: int
    server: Mapping[str, str] | None
    cancel: Cancel
    say: Say
    folder: Path

    def __post_init__(self) -> None:
        self._places: dict[int, Place] = {}

    def make(self, users: Mapping[str, str]) -> tuple[ScratchCopy, Mapping[str, Mapping[str, str]]]:
        """Copy one database. users: the connections that lead to it, and their roles."""
        name = next(iter(users))
        with Snapshot(self.connections, name, _READABLE, self.cancel) as snapshot:
            original = _read(snapshot, self.connections.line(name), users)
            place = self._place(original)
            database = (places.make_private if place.private else places.make_named)(place, original)
            self.say(f"copying the structure of {original.name}")
            copying = _Copying(self, snapshot, place, database, original, name)
            copying.read()
        made = copying.finish()  # indexes may take long, and nobody has to wait for us meanwhile
        if place.private:
            places.hand_over(place, database, original)
        return made, database.words

    def _place(self, original: Original) -> Place:
        key = 0 if self.server else original.major
        if key not in self._places:
            bytes = int(original.facts["bytes"]) if self.rows is Rows.ALL else 0
            made = (
                places.named(self.server, self.env, self.cancel, self.say)
                if self.server
                else places.private(original.major, self.cancel, bytes)
            )
            self._places[key] = self.stack.enter_context(made)
        return self._places[key]


def _read(snapshot: Snapshot, line: str, users: Mapping[str, str]) -> Original:
    doing = "reading what the scratch copy needs"
    return Original(
        facts=snapshot.ask(sqlfile.read("scratch/database.sql"), doing)[0],
        roles=snapshot.ask(sqlfile.read("scratch/roles.sql"), doing),
        settings=snapshot.ask(sqlfile.read("scratch/settings.sql"), doing),
        users=users,
        major=snapshot.major,
        line=line,
    )


@dataclass
class _Copying:
    """The copying of one database into another that is empty. name: the connection to read it by."""

    maker: _Maker
    snapshot: Snapshot
    place: Place
    database: Database
    original: Original
    name: str
    left: list[LeftOut] = field(default_factory=list)
    views: Sequence[TableName] = ()

    def read(self) -> None:
        """Copy what the snapshot is needed for: structure without indexes and constraints, and rows."""
        every = self._ask("tables")
        closed = [TableName.of(row) for row in every if not row["readable"]]
        file = self.maker.folder / f"{len(self.place.databases)}-{self.place.major}.dump"
        archive = structure.dump(
            self.maker.connections, self.name, self.snapshot, closed, file, self.place.major, self.maker.cancel
        )
        role = self.original.users[self.name]
        self.left = [LeftOut(what=f"table {one}", reason=f"{role} may not read it") for one in closed]
        if not self.place.private:
            reason = f"on a server that others use, too, everything belongs to {self.place.filler}"
            self.left.append(LeftOut(what="owners, roles and grants", reason=reason))
        self.left += structure.extensions(self.place, self.database, self._ask("extensions"))
        self.restorer = Restorer(archive, self.place, self.database)
        self.restorer.schemas()
        self.restorer.before_rows()
        self.filled = self._fill([row for row in every if row["readable"]])
        self.views = [TableName.of(row) for row in self._ask("matviews")]

    def finish(self) -> ScratchCopy:
        """Make the rest of the structure: indexes, constraints, triggers, grants, materialized views."""
        self.restorer.after_rows()
        self.restorer.archive.file.unlink()
        with self.place.open(self.database.filler) as conn:
            self._refresh_views(conn)
            conn.execute("analyze")
        return ScratchCopy(
            connections=tuple(self.original.users), of=self.original.line, database=self.database.name,
            version=self.place.programs.version if self.place.private else str(self.place.major),
            private=self.place.private, same_major=self.place.major == self.original.major,
            rows=self.filled.rows, tables=self.filled.tables,
            left_out=(*self.left, *self.restorer.left_out, *self.filled.left_out),
            reader=self.database.filler,
            programs=ProgramWatch(self.place, self.database.name) if self.place.private else None,
        )  # fmt: skip

    def _ask(self, name: str) -> Sequence[Mapping[str, Any]]:
        return self.snapshot.ask(sqlfile.read(f"scratch/{name}.sql"), "reading what the scratch copy needs")

    def _fill(self, tables: Sequence[Mapping[str, Any]]) -> Filled:
        with self.place.open(self.database.filler) as target:
            if self.maker.rows is not Rows.NONE:
                self.maker.say(f"copying rows of {self.original.name}")
            there = {TableName.of(row) for row in target.execute(_TABLES).fetchall()}
            here = [row for row in tables if TableName.of(row) in there and row["schema"] != "planrun"]
            with Filler(self.snapshot, target, here, self.maker.cancel) as filler:
                filled = filler.fill(self.maker.rows, self.maker.number)
            if {TableName("planrun", one) for one in _LEDGER} <= there:
                self._copy_ledger(target)
            self._set_sequences(target)
        return filled

    def _copy_ledger(self, target: DeadlineConnection) -> None:
        """Copy planrun's record of its objects, with the OIDs that they have in the copy."""
        for row in self._ask("ledger"):
            record = f"jsonb_populate_record(null::planrun.refresh, {literal(row['record'])}::jsonb)"
            target.execute(f"insert into planrun.refresh select * from {record}".encode())
        for row in self._ask("members"):
            if row["now"]:
                target.execute(_member_text(row).encode())

    def _set_sequences(self, target: DeadlineConnection) -> None:
        calls = list[str]()
        for row in self._ask("sequences"):
            name = f"pg_catalog.to_regclass({literal(qualified(row['schema'], row['name']))})"
            calls.append(f"select pg_catalog.setval({name}, {row['value']}) where {name} is not null")
        if calls:
            target.execute(";\n".join(calls).encode())

    def _refresh_views(self, conn: DeadlineConnection) -> None:
        """Fill the materialized views that are filled in the original: those first that need no other one."""
        left = list(self.views)
        while left:
            failed = [name for name in left if not self._refresh_view(conn, name)]
            if len(failed) == len(left):
                return
            left = failed

    def _refresh_view(self, conn: DeadlineConnection, name: TableName) -> bool:
        with contextlib.suppress(TargetError), translate_errors():
            conn.execute(f"refresh materialized view {name.sql}".encode())
            return True
        self.maker.cancel.check()
        return False


_FINDERS = {"pg_class": "to_regclass", "pg_proc": "to_regprocedure"}


def _member_text(row: Mapping[str, Any]) -> str:
    """Return the INSERT of a member of the ledger under the OID of the copy; of an object that is not there, none."""
    now = literal(row["now"])
    if row["catalog"] in _FINDERS:
        oid = f"pg_catalog.{_FINDERS[row['catalog']]}({now})::oid"
    else:
        schema = "(select n.nspname from pg_catalog.pg_namespace as n where n.oid = s.stxnamespace)"
        oid = f"(select s.oid from pg_catalog.pg_statistic_ext as s where format('%I.%I', {schema}, s.stxname) = {now})"
    key = ", ".join(literal(row[name]) for name in ("refresh", "side", "catalog"))
    rest = ", ".join(literal(row[name]) for name in ("kind", "schema", "name"))
    return (
        "insert into planrun.member (refresh, side, catalog, oid, kind, schema, name, about) "
        f"select {key}, f.oid, {rest}, {literal(row['about'])}::jsonb from (select {oid}) as f (oid) "
        "where f.oid is not null"
    )
