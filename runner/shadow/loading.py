"""Build shadow tables: structure, rows, indexes, keys and views, each as the source or the target has it.

All of it is built in a schema that nobody else uses, so a failure at any moment leaves the live tables as they are.
The ledger records it, by OID, before it is filled; the next load removes what a failed or killed load left.
Rows are read in one snapshot of the source and written frozen, so that a snapshot which is older than the swap sees
them. Sources: PostgreSQL docs, COPY (FREEZE), 9.28.5 (snapshot synchronization), 14.4 (populating a database).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg

from runner.backup.snapshot import Snapshot
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.run_lock import release
from runner.errors import LockedError, PlanrunError, TargetError
from runner.model import Load
from runner.progress import Report
from runner.refresh import access, ledger, naming, planrun_schema
from runner.refresh.catalog import dependents, refusals
from runner.refresh.ledger import Refresh
from runner.shadow import checks, derived, leftovers, load_record, preflight, rows, sequences, source, tables
from runner.shadow.load_context import SETTINGS, Conn, LoadContext
from runner.sqltext import ident, literal
from runner.words import PLAN, shown_name

_NAMESPACE = 0x73686164
"""The first half of the key of the lock on a schema that is being loaded: "shad"."""
_UNFINISHED = ("loading", "loaded")


def load(
    action: Load, connections: Connections, *, run: str, plan: str, cancel: Cancel, progress: Report
) -> dict[str, Any]:
    """Build the shadow; return {"set", "schema", "tables", "count", "rows", "bytes", "measures"}.

    Raises TargetError or the reason of a cancel; what was created is then removed again, and if that is impossible, it
    stays in the ledger. Raises LockedError when another run is loading this schema.
    """
    with (
        contextlib.closing(connections.open(action.connection, read_only=False, own_path=True, **SETTINGS)) as conn,
        _schema_lock(conn, action.schema),
    ):
        _check_preconditions(action, connections, conn)
        _make_ledger(conn)
        _clear(action, connections, conn, plan, cancel)
        refresh = _begin(action, conn, run, plan)
        try:
            with cancel.child() as own:
                return _fill(LoadContext(action, connections, conn, refresh, own, progress))
        except BaseException:
            _undo(action, connections, refresh)
            raise


def _fill(load: LoadContext) -> dict[str, Any]:
    """Go through the phases of a load. Raises TargetError; what was created then still exists."""
    live = load_record.live_tables(load)
    _dependents(load)
    # first: the new tables will lack any ALTER of a live table from now on
    hashes = load_record.live_structure(load)
    with Snapshot(load.connections, load.action.source, source.query(load), load.cancel) as snapshot:
        found = source.read(load, snapshot)
        tables.make(load, found)
        checks.try_expressions(load, found, _dependents(load))
        owners = tables.give_to_owners(load, found)
        copied = rows.copy(load, found, owners, snapshot)
        sequences.set_positions(load, found, snapshot)
        positions = list(sequences.read_shared(load, found, snapshot))
    tables.finish(load, found)
    checks.check_tables(load, found, copied)
    _build_views(load)
    tables.revoke_rights(load, owners)
    return load_record.record(load, found, copied, positions=positions, live=live, hashes=hashes)


def _dependents(load: LoadContext) -> dependents.Dependents:
    """Return what depends on the live tables. Raises TargetError when something would be lost."""
    names = [table.name for table in load.action.tables if table.live]
    ours = ledger.leftover_oids(ledger.read(load.ask))
    text = load.templates.sql(dependents.QUERY, schema=load.schema, names=names, ours=ours)
    found = dependents.from_rows(load.ask(text), lose=load.action.lose)
    refusals.refuse(map(refusals.of_lost, found.losses_to_refuse))
    return found


def _build_views(load: LoadContext) -> None:
    load.say("views")
    derived.build(
        load.conn,
        _dependents(load),
        refresh=load.refresh.id,
        schemas={load.schema: load.shadow},
        cancel=load.cancel,
        progress=load.progress,
    )


@contextlib.contextmanager
def _schema_lock(conn: Conn, schema: str) -> Iterator[None]:
    """Hold the lock on a schema; it ends with the connection at the latest."""
    key = int.from_bytes(hashlib.sha256(schema.encode()).digest()[:4], "big", signed=True)
    with translate_errors():
        rows = conn.execute(f"select pg_catalog.pg_try_advisory_lock({_NAMESPACE}, ({key})) as got").fetchall()
    if not rows[0]["got"]:
        raise LockedError(
            f"another run is loading schema {shown_name('', schema)}",
            hint=f"wait until it ends; planrun status {PLAN} shows how far it is",
            code="PR0501",
        )
    try:
        yield
    finally:
        release(conn, _NAMESPACE, key)


def _check_preconditions(action: Load, connections: Connections, conn: Conn) -> None:
    with contextlib.closing(connections.open(action.source, read_only=True)) as other:
        preflight.refuse_same(other, conn)
    preflight.refuse_without_room(conn, sum(one.bytes for one in action.tables if not one.empty))


def _make_ledger(conn: Conn) -> None:
    """Create the tables of the ledger if they do not exist. Raises TargetError if the role may not."""
    text = planrun_schema.create("ledger", planrun_schema.check(lambda query: _read(conn, query)))
    if not text:
        return
    try:
        with translate_errors(), conn.transaction():
            conn.execute(text)
    except TargetError as exc:
        if exc.sqlstate != "42501":
            raise
        what, info = "the record of refreshes", conn.info
        raise planrun_schema.refusal(what, exc.message, role=info.user, database=info.dbname) from exc


def _clear(action: Load, connections: Connections, conn: Conn, plan: str, cancel: Cancel) -> None:
    """Remove what earlier loads of this schema left. Raises TargetError if it belongs to another plan."""
    shadow = naming.shadow_schema(action.schema)
    known = [one for one in _refreshes(conn) if one.state in _UNFINISHED and one.schema == action.schema]
    preflight.refuse_taken(conn, shadow, known[-1] if known else None)
    for one in known:
        if one.plan != plan:
            raise TargetError(
                f"shadow tables of schema {shown_name('', action.schema)} exist already, of plan {one.plan}, "
                f"run {one.id}",
                hint="finish that plan, or remove them: planrun abort with that plan's file",
                code="PR0803",
            )
    for one in known:
        leftovers.remove(one, connections, action.connection, cancel=cancel)


def _begin(action: Load, conn: Conn, run: str, plan: str) -> Refresh:
    """Record the refresh and create its schema in one transaction."""
    shadow = naming.shadow_schema(action.schema)
    taken = {one.id for one in _refreshes(conn)}
    name = run if run not in taken else f"{run}.{action.schema}"
    marked = f"{ledger.marker(name)} shadow tables of schema {action.schema}, made by plan {plan}"
    oid = f"(select n.oid from pg_catalog.pg_namespace as n where n.nspname = {literal(shadow)})"
    with translate_errors(), conn.transaction():
        conn.execute(ledger.begin(name, plan, action.schema, shadow, action.source))
        conn.execute(f"create schema {ident(shadow)}")
        conn.execute(access.close(shadow))
        conn.execute(f"comment on schema {ident(shadow)} is {literal(marked)}")
        row = conn.execute(f"select {oid}::bigint as oid").fetchall()[0]
        conn.execute(ledger.note(name, shadow_oid=int(row["oid"]), lose=tuple(action.lose)))
    return next(one for one in _refreshes(conn) if one.id == name)


def _undo(action: Load, connections: Connections, refresh: Refresh) -> None:
    """Remove what was created. It raises nothing, because the error that led here is the one to report."""
    with contextlib.suppress(PlanrunError, psycopg.Error):
        with contextlib.closing(connections.open(action.connection)) as conn:
            now = [one for one in _refreshes(conn) if one.id == refresh.id]
        for one in now:
            leftovers.remove(one, connections, action.connection, cancel=Cancel(), deadline=15)


def _refreshes(conn: Conn) -> tuple[Refresh, ...]:
    return ledger.read(lambda text: _read(conn, text))


def _read(conn: Conn, text: str) -> list[dict[str, Any]]:
    with translate_errors():
        return conn.execute(text).fetchall()
