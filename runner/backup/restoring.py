"""Restore tables of a session in one transaction, and compare them with the manifest before COMMIT.

planrun first reads the session to its end, then checks the target and names all obstacles at once. `replace` drops the
old tables (RESTRICT) in the same transaction: whatever fails, and whenever planrun is killed, the old tables stay as
they were. The price is an ACCESS EXCLUSIVE lock on them until COMMIT. `as_schema` restores into a scratch database,
lets PostgreSQL itself move the tables to the other schema there, so that every sequence, index and foreign key follows,
and copies them from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner import resources, sqlfile, tools
from runner.backup import attachments, filling, needs, scratch, sessions
from runner.backup.archive import Reader, lock_session, units
from runner.backup.dumptext import Cleaner, refers_to
from runner.backup.loading import Loading
from runner.backup.manifest import Manifest, Need, Table
from runner.backup.restored_content import OTHER_HASHES, Compared, Comparison
from runner.backup.snapshot import client_encoding
from runner.backup.verifying import Verified, verify
from runner.cancel import Cancel
from runner.database import commits
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import cancellable
from runner.errors import PlanrunError, TargetError, UsageError, VerifyError
from runner.model import Restore
from runner.names import literally
from runner.progress import Report, Tally
from runner.safesql.templates import Templates
from runner.server import programs
from runner.sqltext import SqlText, ident, literal, qualified
from runner.table_name import TableName
from runner.words import shown_name

BeforeCommit = Callable[[str, Mapping[str, Any]], None]


def restore(
    action: Restore,
    connections: Connections,
    *,
    cancel: Cancel | None = None,
    progress: Report | None = None,
    before_commit: BeforeCommit | None = None,
) -> dict[str, Any]:
    """Restore tables and return the result: session, tables, count, rows, made, left.

    before_commit: called right before COMMIT with the transaction's id and the result. Raises VerifyError if the
    session, or what it restores to, differs from the backup; TargetError with all obstacles; UnknownStateError if the
    answer to COMMIT was lost and the server cannot be asked. The database is then as it was, except perhaps after an
    UnknownStateError.
    """
    cancel = cancel or Cancel()
    session = Path(action.session)
    with lock_session(session):
        manifest = sessions.read(session)
        chosen = _choose(action, manifest)
        wanted = manifest if action.schema else replace(manifest, tables=chosen)
        tallies = filling.tallies(wanted, progress or _silent)
        proof = verify(session, 2, cancel=cancel, progress=progress)
        work = _Work(
            action,
            connections,
            manifest,
            chosen,
            proof,
            cancel,
            progress or _silent,
            tallies,
            before_commit or _unheard,
        )
        return work.all()


def _silent(done: int, total: int, unit: str, what: str) -> None:
    pass


def _unheard(xid: str, result: Mapping[str, Any]) -> None:
    pass


def _choose(action: Restore, manifest: Manifest) -> tuple[Table, ...]:
    """Return the tables to restore. Raises UsageError naming those that the session does not contain."""
    if not action.tables:
        return manifest.tables
    found: dict[TableName, Table] = {}
    for given in action.tables:
        schema, name = TableName.parse(given)
        same = [table for table in manifest.tables if table.name == name and schema in ("", table.schema)]
        if len(same) != 1:
            known = ", ".join(str(t.full_name) for t in same or manifest.tables[:20])
            problem = "is in more than one schema" if same else "is not in this session"
            raise UsageError(
                f"table {given} {problem}", where=manifest.session, hint=f"there are: {known}", code="PR0605"
            )
        found[same[0].full_name] = same[0]
    return tuple(found.values())


@dataclass
class _Work:
    action: Restore
    connections: Connections
    manifest: Manifest
    tables: tuple[Table, ...]
    proof: Verified
    cancel: Cancel
    progress: Report
    tallies: Mapping[str, Tally]
    before_commit: BeforeCommit
    missing: list[Need] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    _secured: set[TableName] = field(default_factory=set)
    _there: tuple[str, ...] = ()

    def all(self) -> dict[str, Any]:
        self.units = units(self.tables)
        self._usable()
        self.reader = Reader(Path(self.action.session), self.manifest, self.cancel)
        self.major = self._look()
        with ExitStack() as stack:
            blocks = self._dump_beside(stack) if self.action.schema else None
            return self._transaction(blocks)

    def _outputs(self, found: Iterable[Compared]) -> dict[str, Any]:
        rows = [{"schema": t.schema, "name": t.name, "rows": t.rows} for t in found]
        return {
            "session": self.action.session,
            "tables": rows,
            "count": len(rows),
            "rows": sum(row["rows"] for row in rows),
            "made": [needs.display_name(need) for need in self.missing],
            "left": sorted(set(self.left)),
        }

    def _usable(self) -> None:
        if self.action.replace and (self.action.schema or not self.action.owners):
            other = "in another schema" if self.action.schema else "without their owners and grants"
            raise UsageError(f"tables cannot be replaced {other}", code="PR0601")
        for unit in self.units:
            held_here = [table for table in self.manifest.tables if table.file == unit.file]
            if len(held_here) > len(unit.tables) and not self.action.schema:
                raise UsageError(
                    f"{unit.file} contains {len(held_here)} tables: restore all of them, or restore beside the "
                    "live tables",
                    hint="name a schema for the tables you want: --as-schema restored",
                    code="PR0711",
                )
        names = [table.name for table in self.tables]
        if self.action.schema and len(set(names)) < len(names):
            raise UsageError(
                "two of these tables have the same name, so they cannot be restored into one schema",
                hint="restore them one by one: --table schema.name",
                code="PR0711",
            )

    # -------------------------------------------------------------- what is in the way

    def _place(self, schema: str) -> str:
        return self.action.schema or schema

    def _look(self) -> int:
        """Return the major version of the target's server; find out what must be created. Raises TargetError for
        obstacles."""
        with self.connections.open(self.action.connection, read_only=True) as conn, cancellable(conn, self.cancel):

            def ask(query: str) -> Sequence[Mapping[str, Any]]:
                with translate_errors():
                    return conn.execute(query).fetchall()

            self._there = tuple(row["name"] for row in ask(_SCHEMAS))
            wrong = [*sorted(self._target(ask)), *self._missing_needs(ask)]
            major = conn.info.server_version // 10000
        if wrong:
            raise TargetError(
                "cannot be restored here: " + "; ".join(dict.fromkeys(what for what, _ in wrong)),
                where=self.manifest.session,
                hint="; ".join(dict.fromkeys(hint for _, hint in wrong if hint)),
                code="PR0711",
            )
        return major

    def _target(self, ask: Callable[[str], Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
        pairs = sorted(self._all_tables())
        wanted = {self._place(schema) for schema, _ in pairs}
        text = Templates((resources.SQL,)).sql(
            "pg_restore/target.sql.j2",
            schemas=[self._place(schema) for schema, _ in pairs],
            names=[name for _, name in pairs],
            new=sorted(wanted),
            replace=self.action.replace,
        )
        for row in ask(text):
            what = f"{row['what']} already exists" if row["problem"] == "there" else str(row["what"])
            yield what, _HINTS.get(row["problem"], "")

    def _all_tables(self) -> set[TableName]:
        """Return (schema, name) of all tables that will be created: the chosen ones and their partitions."""
        found = {table.full_name for table in self.tables}
        parts = {pair for unit in self.units if not unit.whole for pair in self.proof.contents[unit.file].tables}
        return found | parts

    def _missing_needs(self, ask: Callable[[str], Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
        """Find out which needs do not exist; yield those that planrun cannot create."""
        for need in [*self.manifest.needs, *self._schemas()]:
            if need.kind == "role" and not self._role_matters(need):
                continue
            query = needs.check(need)
            if not query or ask(query)[0]["there"]:
                if need.kind == "role" and need.identity == "owner":
                    yield from self._owner(ask, need.name)
            elif need.ddl:
                self.missing.append(need)
            else:
                yield f"{needs.display_name(need)} does not exist", _HINTS.get(need.kind, "create it first")
        if not self.action.schema:
            inside = self._all_tables()
            for schema, name in sorted({pair for table in self.tables for pair in table.references} - inside):
                if not ask(needs.check(Need(kind="table", schema=schema, name=name, identity="")))[0]["there"]:
                    name = shown_name(schema, name)
                    yield f"table {name} does not exist, and these tables refer to it", _HINTS["refer"]

    def _schemas(self) -> list[Need]:
        known = {need.name for need in self.manifest.needs if need.kind == "schema"}
        whole = any(unit.whole for unit in self.units) and not self.action.schema
        wanted = {self._place(table.schema) for table in self.tables} - known
        made = [Need(kind="schema", schema="", name=name, identity=name) for name in sorted(wanted)]
        return [] if whole else [replace(need, ddl=f"CREATE SCHEMA {ident(need.name)};\n") for need in made]

    def _role_matters(self, need: Need) -> bool:
        if need.identity == "owner" and self.action.tables:
            owners = {owner for unit in self.units for owner in self.proof.contents[unit.file].owners}
            if need.name not in owners:
                return False  # of a table of the session that is not chosen
        return need.identity == "policy" or (self.action.owners and not self.action.schema)

    def _owner(self, ask: Callable[[str], Sequence[Mapping[str, Any]]], role: str) -> Iterator[tuple[str, str]]:
        """Yield what prevents a role from becoming the owner of tables here."""
        schemas = sorted({schema for schema, _ in self._all_tables()})
        for row in ask(sqlfile.fill(_OWNER, role=literal(role), schemas=literal(schemas))):
            yield row["what"], _HINTS["role"]

    # -------------------------------------------------------------- beside: by way of a scratch database

    def _dump_beside(self, stack: ExitStack) -> Iterator[bytes]:
        """Restore into a scratch database, move the tables to the schema there, and return a dump of that schema."""
        place = self._scratch(stack)
        self._say("restoring into a scratch database")
        found = filling.fill(place, self.reader, self.manifest, self.cancel, self.tallies)
        wrong = [f"{t.full_name}: {t.problem}" for t in found.tables if t.problem]
        _refuse(wrong, self.manifest.session)
        self._all_there({table.full_name for table in found.tables}, found.unproved)
        with (
            place.connections.open("scratch", statement_timeout="0") as conn,
            cancellable(conn, self.cancel),
            translate_errors(),
        ):
            conn.execute(f"create schema {ident(self.action.schema)}")
            for schema, name in self._to_move(conn):
                conn.execute(f"alter table {qualified(schema, name)} set schema {ident(self.action.schema)}")
        encoding = client_encoding(self.manifest.server.encoding if self.manifest.server else "")
        door = stack.enter_context(tools.access(place.words, place.env, encoding))
        argv = (
            place.programs.tool("pg_dump"),
            *("--format=plain", "--no-owner", "--no-acl", "--no-password", f"--schema={literally(self.action.schema)}"),
            f"--dbname={door.conninfo}",
        )
        env = dict(door.env) | place.programs.env
        child = tools.Child(argv, env=env, cancel=self.cancel, pass_fds=door.pass_fds, hide=door.hide)
        return stack.enter_context(child).chunks()

    def _all_there(self, found: set[TableName], unproved: Sequence[str]) -> None:
        """Raise TargetError if a chosen table could not be restored without the rest of its database."""
        if {table.full_name for table in self.tables} - found:
            raise TargetError(
                f"cannot be restored beside the live tables: {'; '.join(unproved)}",
                where=self.manifest.session,
                hint="restore it into a database that has these objects: --into URL, without --as-schema",
                code="PR0711",
            )

    def _scratch(self, stack: ExitStack) -> scratch.Scratch:
        """Return a database on a private server if one is available and has what is needed, else on the target's
        server."""
        whole = self.reader.extensions(unit for unit in self.units if unit.whole)

        def make(server: Mapping[str, str] | None) -> scratch.Scratch:
            env = self.connections.env
            return stack.enter_context(
                scratch.database(self.manifest, extensions=whole, server=server, env=env, cancel=self.cancel)
            )

        try:
            return make(None)
        except TargetError as exc:
            self.cancel.check()
            self._say(f"on a private server: {exc.message}")
            return make(self.connections.words(self.action.connection))

    def _to_move(self, conn: Any) -> list[TableName]:
        """Return the chosen tables and their partitions; SET SCHEMA on a table does not move its partitions."""
        names = [table.full_name for table in self.tables]
        rows = conn.execute(_FAMILY, ([s for s, _ in names], [n for _, n in names])).fetchall()
        return [TableName.of(row) for row in rows]

    # -------------------------------------------------------------- the transaction

    def _transaction(self, moved: Iterable[bytes] | None) -> dict[str, Any]:
        words = self.connections.words(self.action.connection)
        client = programs.client_for(self.major)
        with Loading(words, self.connections.env, client, self.cancel) as loading:
            before = _protection(loading, self._all_tables()) if self.action.replace else {}
            defaults = loading.ask(_text("defaults"))
            loading.run(f"{row['revoke']};\n".encode() for row in defaults)
            self._drop(loading)
            loading.run([needs.script(self.missing).encode()])
            keys = self._fill(loading, moved)
            for number, key in enumerate(keys, 1):
                self._say(f"foreign key {number} of {len(keys)}")
                loading.run([key])
            self._attach(loading)
            self._repair(loading)
            loading.run(f"{row['grant']};\n".encode() for row in defaults)
            self._say("comparing with what was dumped")
            found = self._compare(loading)
            _refuse([f"{t.full_name}: {t.problem}" for t in found if t.problem], self.manifest.session)
            _no_less(before, _protection(loading, self._all_tables()) if before else {}, self.manifest.session)
            given = self._outputs(found)
            self.cancel.check()  # psql is stopped by another thread, which may come too late for small tables
            self.before_commit(loading.transaction_id(), given)
            self._commit(loading)
        return given

    def _compare(self, loading: Loading) -> list[Compared]:
        comparison = Comparison(loading.ask, self.manifest, self._place)
        if comparison.counts_only:
            self.left.append(f"comparison of content: {OTHER_HASHES}")
        found = []
        for table in self.tables:
            found.append(comparison.compare(table))
            self.tallies["comparing"].complete([table.file], str(table.full_name))
        return found

    def _attach(self, loading: Loading) -> None:
        """Create the statistics of the tables and add the tables to their publications; report what cannot be
        created."""
        inside = self._all_tables()
        mine = [one for one in self.manifest.attachments if (one.table_schema, one.table_name) in inside]
        if self.action.schema:
            self.left += [
                f"{attachments.display_name(one)}: not created, because the tables are restored beside the live ones"
                for one in mine
            ]
            return
        made, left = attachments.statements(mine, loading.ask)
        loading.run(text.encode() for text in made)
        self.left += left

    def _repair(self, loading: Loading) -> None:
        """Undo what event triggers of the target did to the tables: row security, another owner. Report each change."""
        tables = [(self._place(schema), name) for schema, name in sorted(self._all_tables())]
        owners = not self.action.owners or bool(self.action.schema)
        values = {"schemas": [s for s, _ in tables], "names": [n for _, n in tables], "mine": owners}
        for row in loading.ask(_text("event_triggers", **values)):
            if row["what"] != "row security" or TableName.of(row) not in self._secured:
                loading.run([f"{row['undo']};\n".encode()])
                self.left.append(
                    f"{row['what']} of {TableName.of(row)}: removed, because event trigger {row['by']} of this "
                    "database added it and the backup has none"
                )

    def _drop(self, loading: Loading) -> None:
        """Drop the replaced tables in one statement, because they may refer to each other."""
        if not self.action.replace:
            return
        there = loading.ask(sqlfile.fill(_THERE, pairs=_pairs(self._all_tables())))
        if there:
            names = ", ".join(TableName.of(row).sql for row in there)
            loading.run([f"DROP TABLE {names} RESTRICT;\n".encode()])

    def _fill(self, loading: Loading, moved: Iterable[bytes] | None) -> list[bytes]:
        """Create and fill the tables; return the foreign keys to add at the end."""
        if moved is not None:
            cleaner = Cleaner(owners=False, schemas=(self.action.schema,))
            loading.run(cleaner.clean(moved))
            self._secured |= _with_row_security(cleaner)
            inside = {TableName(self.action.schema, table.name) for table in self.tables}
            others = (filling.outside(key, inside) for key in cleaner.keys)
            self.left += [f"foreign key to {name}: not moved" for name in others if name]
            return [key for key in cleaner.keys if refers_to(key) in inside]
        keys: list[bytes] = []
        tally = self.tallies["restoring"]
        for unit in self.units:
            cleaner = self.reader.cleaner(unit, owners=self.action.owners, attach=True, schemas=self._there)
            loading.run(filling.count_bytes(self.reader.text(unit, cleaner), unit, tally))
            self._secured |= _with_row_security(cleaner)
            keys += cleaner.keys
            tally.complete([unit.file], unit.file)
        return keys

    def _say(self, what: str) -> None:
        self.progress(0, 0, "", what)

    def _commit(self, loading: Loading) -> None:
        """Commit; if the answer is lost, or a cancel interrupts it, ask the server for the result."""
        try:
            loading.commit()
        except PlanrunError as exc:
            hint = (
                f"when it is back: select pg_xact_status('{loading.xid}'); committed means that everything was restored"
            )
            commits.raise_unless_committed(self.connections, self.action.connection, loading.xid, exc, hint=hint)


def _with_row_security(cleaner: Cleaner) -> set[TableName]:
    return {TableName(schema, name) for kind, schema, name in cleaner.found if kind == "ROW SECURITY"}


def _text(name: str, **values: Any) -> str:
    return Templates((resources.SQL,)).sql(f"pg_restore/{name}.sql.j2", **values)


def _refuse(wrong: list[str], where: str) -> None:
    if wrong:
        raise VerifyError("rolled back: " + "; ".join(wrong), where=where, code="PR0712")


def _pairs(pairs: Iterable[TableName]) -> SqlText:
    return SqlText(", ".join(f"({literal(schema)}, {literal(name)})" for schema, name in sorted(pairs)))


# ------------------------------------------------------------------ nothing less protected than before


def _protection(loading: Loading, pairs: Iterable[TableName]) -> dict[str, set[str]]:
    """Return the protection of each existing table: row security, and who may do what."""
    rows = loading.ask(sqlfile.fill(_PROTECTION, pairs=_pairs(pairs)))
    return {row["name"]: {*row["security"], *(f"grant {grant}" for grant in row["grants"])} for row in rows}


def _no_less(before: Mapping[str, set[str]], after: Mapping[str, set[str]], where: str) -> None:
    wrong = []
    for name in before:
        lost = {word for word in before[name] - after.get(name, set()) if not word.startswith("grant ")}
        more = {word for word in after.get(name, set()) - before[name] if word.startswith("grant ")}
        wrong += [f"{name} would lose {word}" for word in sorted(lost)]
        wrong += [f"{name} would get {word} back, which was revoked since the backup" for word in sorted(more)]
    if wrong:
        raise TargetError(
            "rolled back, because the live tables are better protected than those of the backup: " + "; ".join(wrong),
            where=where,
            hint="restore beside the live tables with --as-schema NAME and copy the rows from there",
            code="PR0712",
        )


_HINTS = {
    "there": "restore beside the live tables (--as-schema NAME) or replace them (--replace)",
    "right": "connect as a role that may",
    "partition": "detach it first, or restore beside the live tables with --as-schema NAME",
    "publication": "remove it from the publication first, or restore beside the live tables with --as-schema NAME",
    "dependent": "restore beside the live tables with --as-schema NAME, or drop what depends on them",
    "role": "create the role, or leave owners and grants out (--no-owner)",
    "extension": "create extension first",
    "table": "restore it first",
    "refer": "restore it first, or restore beside the live tables with --as-schema NAME",
}

_OWNER = "pg_restore/owner.sql"
_FAMILY = sqlfile.read("pg_restore/family.sql")
_SCHEMAS = "select nspname::pg_catalog.text as name from pg_catalog.pg_namespace"
"""Existing schemas are not created again, as a dump of whole schemas would do."""
_THERE = "pg_restore/there.sql"
_PROTECTION = "pg_restore/protection.sql"
