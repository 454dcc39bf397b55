"""Other clients of the database: an application that writes, connections that hold locks, an autovacuum, a deadlock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import psycopg

from tests.commandline import wait_for
from tests.crash import invariants as check
from tests.crash.stage import QUIET, Stage


class Used(NamedTuple):
    """A table of a plan that another client uses.

    column: one of its columns. other: the table of the plan that is locked before it. vacuumed: its locks block an
    autovacuum.
    """

    table: str
    column: str
    other: str
    vacuumed: bool = True


USED: tuple[Used, ...] = (
    Used("public.orders", "id", "public.users"),
    Used("public._cdc_orders", "id", "public._cdc_users"),
    Used("public.counter", "n", "public.made", vacuumed=False),
)
LOCKS: Mapping[str, str] = {
    "reader": "select count(*) from {table}",
    "brief": "select count(*) from {table}",
    "writer": "update {table} set {column} = {column}",
    "idle": "lock table {table} in row exclusive mode",
}
_BRIEFLY = 1.0
"""Seconds: longer than planrun waits for a lock of a swap at once, so that it has to come again."""
_SOON = {"autovacuum_naptime": "1", "autovacuum_vacuum_threshold": "2500"}
"""It begins soon, with no table but that which was given 3000 dead rows."""
_VACUUMED = "select count(*) from pg_stat_progress_vacuum where relid = {}::regclass"
_WAITS = "select pid from pg_locks join pg_stat_activity a using (pid) where not granted and application_name ~ '^p'"


@contextlib.contextmanager
def comes_in(stage: Stage, who: str, used: Used) -> Iterator[None]:
    """Another client uses the table while the block runs, unless planrun itself holds its lock."""
    mode = "access exclusive" if who == "deadlock" else "row exclusive"
    if not _free(stage, used.table, mode):
        yield
        return
    match who:
        case "autovacuum":
            with _autovacuum(stage, used):
                yield
        case "deadlock":
            with _deadlock(stage, used):
                yield
        case _:
            with stage.connect() as conn:
                conn.autocommit = False
                conn.execute(LOCKS[who].format(table=used.table, column=used.column).encode())
                leaves = threading.Timer(_BRIEFLY, conn.rollback)
                if who == "brief":
                    leaves.start()
                yield
                leaves.cancel()
                conn.rollback()


def _free(stage: Stage, table: str, mode: str) -> bool:
    with stage.connect() as conn, contextlib.suppress(psycopg.errors.LockNotAvailable):
        conn.execute(f"set lock_timeout = '500ms'; begin; lock table {table} in {mode} mode; rollback".encode())
        return True
    return False


@contextlib.contextmanager
def _autovacuum(stage: Stage, used: Used) -> Iterator[None]:
    """A slow autovacuum of the table is at work when the block begins."""
    stage.bury()
    with stage.connect() as conn, conn.transaction(force_rollback=True):  # closed, as only then it tells of its rows
        rows = f"insert into {used.table} ({used.column}) select n from generate_series(1000000, 1003000) n"
        conn.execute(rows.encode())
    with stage.server.admin() as admin, stage.connect() as conn:
        stage.settle(_SOON)
        try:
            question = _VACUUMED.format(f"'{used.table}'").encode()
            wait_for(lambda: conn.execute(question).fetchone() == (1,), 30)
            yield
        finally:
            stage.settle(QUIET)
            gone = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'autovacuum worker'"
            wait_for(lambda: not admin.execute(gone.encode()).fetchall(), 15)


@contextlib.contextmanager
def _deadlock(stage: Stage, used: Used) -> Iterator[None]:
    """A session holds the table; when planrun waits for it, it asks for one that planrun may have locked before.

    It looks for a deadlock itself so late that it is planrun who finds it and gives way.
    """
    over = threading.Event()

    def ask(conn: psycopg.Connection[tuple[object, ...]]) -> None:
        with stage.connect() as looks, contextlib.suppress(psycopg.Error):
            while not over.is_set():
                if looks.execute(_WAITS.encode()).fetchall():
                    if looks.execute("select to_regclass(%s)", (used.other,)).fetchone() != (None,):
                        conn.execute(f"lock table {used.other} in access exclusive mode".encode())
                    over.wait(0.5)
                    conn.rollback()
                    return
                over.wait(0.01)

    with stage.connect() as conn:
        conn.autocommit = False
        conn.execute("set deadlock_timeout = '60s'; set lock_timeout = '20s'")
        conn.execute(f"lock table {used.table} in access exclusive mode".encode())
        thread = threading.Thread(target=ask, args=(conn,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)
            conn.rollback()


class Writer:
    """An application that writes to the preserved table, one write before each request of planrun.

    It goes by the live name, as applications do. acknowledged: the writes that it was told to be committed.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage, self.acknowledged, self.errors = stage, 0, list[str]()
        self._connect()

    def _connect(self) -> None:
        self._conn = self._stage.connect()
        self._conn.execute("set lock_timeout = '40ms'")

    def write(self) -> None:
        try:
            self._conn.execute("update users set v = v + 1 where id = 1")
            self.acknowledged += 1
        except psycopg.errors.LockNotAvailable:
            pass
        except psycopg.OperationalError:  # the server was crashed
            with contextlib.suppress(psycopg.Error):
                self._connect()
        except psycopg.Error as exc:
            self.errors.append(str(exc))

    def wrong(self) -> list[str]:
        """What it has to complain about: errors, and writes that are gone."""
        with self._stage.connect() as conn:
            row = conn.execute("select v from users where id = 1").fetchone()
        assert row
        lost = check.nothing_acknowledged_is_lost({"users": self.acknowledged}, {"users": row[0] - self._base})
        return [*(f"the writer was told: {each}" for each in self.errors[:3]), *lost]

    def begin(self) -> None:
        row = self._conn.execute("select v from users where id = 1").fetchone()
        assert row
        self._base: int = row[0]

    def close(self) -> None:
        self._conn.close()
