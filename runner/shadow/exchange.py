"""Run SQL in one transaction under locks that are requested all at once, for a short time, until a deadline.

A waiting ACCESS EXCLUSIVE request blocks everyone queued behind it, so each wait is short. It must not be shorter than
planrun's deadlock_timeout, because only then does the server cancel a blocking autovacuum (with 300 ms it never
did, with 2500 ms after 1.00 s). It must not be longer than the deadlock_timeout of others, because in a deadlock the
connection that checks first is ended (4 readers, 6 refreshes: over 20 of them). So planrun lowers its own
deadlock_timeout if it may; otherwise it waits for less than that of others, and longer only if just an autovacuum
blocks it.
It never cancels the work of others. It holds the locks only briefly: work that takes longer than hold_timeout is
undone, and the server releases the locks if planrun is stopped or gone.
Under the locks it sends three messages: the check, the work, and the journal row with the COMMIT. The server has the
plan of the check by then.
Sources: PostgreSQL docs 13.3.1 (lock modes), 13.3.4 (deadlocks), 20.12 (deadlock_timeout), 25.1.6 (autovacuum).
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable
from typing import Any

import psycopg

from runner import sqlfile
from runner.cancel import Cancel
from runner.database.blockers import Watch
from runner.database.connections import Connections, target_error, translate_errors
from runner.database.deadlines import cancellable
from runner.database.standstill import Standstill
from runner.errors import TargetError
from runner.model import Exchange
from runner.sqltext import SqlText, join_statements, literal
from runner.table_name import TableName
from runner.words import PLAN

Conn = psycopg.Connection[dict[str, Any]]
Again = Callable[[int, float, str], None]
"""Called before the next attempt with the number of the failed one, the seconds until the next, and the reason."""
Seal = Callable[[Conn, dict[str, Any], str], None]
"""Writes the journal row into the transaction with the given xid, and commits; raises if it was not committed."""

_EAGER = "20ms"
_LIMIT = 0.5
"""Seconds that one attempt waits by default; with it, 4 readers and 6 refreshes had no deadlock in 265,000 rounds."""
_BELOW, _ABOVE = 0.8, 1.2
"""Fractions of the server's deadlock_timeout, for a role that may not lower it."""
_FEW = 1000
"""Keys that may be copied under the locks: 114 took 1.6 ms."""
_ROUNDS = 20
_PAUSE = (0.5, 2.0)
_SOON = (0.02, 0.2)
"""Seconds after a deadlock: the next attempt first requests what this one waited for, so it need not wait longer."""
_IDLE = 10.0
"""Seconds that the server waits for planrun's next statement under the locks; planrun sends it at once."""
_SPARE = 5.0
"""Seconds by which the server's limit is longer than planrun's, whose error says more."""
_DEADLOCK = "refresh/deadlock_timeout.sql"
_MAY_LOWER = {
    14: "(select rolsuper from pg_catalog.pg_roles where rolname = current_user)",
    15: "pg_catalog.has_parameter_privilege('deadlock_timeout', 'set')",
}
_CHECK = "planrun_check"
_RETRIED = ("lock", "deadlock")
_WAITED = re.compile(r"Process (\d+) waits for \w+ on relation (\d+) of database \d+; blocked by process (\d+)")
_NAMES = "refresh/blocked_relation.sql"


def exchange(action: Exchange, connections: Connections, *, seal: Seal, cancel: Cancel, again: Again) -> dict[str, Any]:
    """Run the exchange; return {"attempts", "waited" (seconds), "locked_ms"}. Raises TargetError; nothing is changed
    then."""
    began = time.monotonic()
    idle = min(_IDLE, action.hold_timeout)
    with contextlib.closing(
        connections.open(
            action.connection,
            statement_timeout="0",
            row_security="off",
            idle_in_transaction_session_timeout=_milliseconds(idle),
        )
    ) as conn:
        work = _Work(action, connections, conn, cancel, seal, idle)
        attempt = 1
        while True:
            result = {"attempts": attempt, "waited": round(time.monotonic() - began, 3)}
            try:
                work.attempt(result)
                return result
            except TargetError as exc:
                left = began + action.deadline - time.monotonic()
                if exc.category not in _RETRIED or left <= 0:
                    raise _explain(exc, attempt) from exc
                delay = min(random.uniform(*(_SOON if exc.category == "deadlock" else _PAUSE)), left)
                again(attempt, delay, exc.message)
                cancel.wait(delay)
                cancel.check()
                attempt += 1


def _explain(exc: TargetError, attempts: int) -> TargetError:
    if exc.category == "lock" and attempts > 1:
        exc.message = f"{exc.message} (tried {attempts} times; nothing was changed)"
    return exc


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


def _since(moment: float) -> float:
    return round((time.monotonic() - moment) * 1000, 2)


class _Work:
    """One Exchange on one connection, which the server ends after `idle` seconds without a statement."""

    def __init__(
        self, action: Exchange, connections: Connections, conn: Conn, cancel: Cancel, seal: Seal, idle: float
    ) -> None:
        self._action, self._conn, self._cancel, self._seal, self._idle = action, conn, cancel, seal, idle
        self._watch = Watch(connections, every=0.3)
        self._first: list[str] = []
        self._prepared, self._limit = False, _LIMIT

    def attempt(self, result: dict[str, Any]) -> None:
        """Set in `result` for how many milliseconds the locks were held, until the answer to the COMMIT."""
        with Standstill(self._idle):
            self._try_once(result)

    def _try_once(self, result: dict[str, Any]) -> None:
        try:
            with self._watch.over(self._action.connection, self._cancel), translate_errors(self._action.what):
                with self._cancel.child() as own, cancellable(self._conn, own):
                    self._catch_up()
                    self._conn.execute("begin")
                    xid = self._go_before()
                    locked = self._take_locks()
                    with own.after(self._action.hold_timeout, self._too_long()):
                        self._conn.execute(join_statements((*self._action.catch_up, self._action.text)))
                result["locked_ms"] = _since(locked)
                self._seal(self._conn, result, xid)
        except BaseException:
            self._rollback()
            raise
        result["locked_ms"] = _since(locked)

    def _go_before(self) -> str:
        """Run the SQL before the locks; return the xid, so that planrun need not ask for it under the locks.

        The check runs first: an earlier change can be found without locks. At the end the server plans it again:
        under the locks, planning took as long as all renames of 10 tables.
        """
        eager, self._limit = self._attempt_limits()
        sooner = f"set local deadlock_timeout = '{_EAGER}'; " if eager else ""
        self._conn.execute(f"{sooner}set local lock_timeout = {_milliseconds(self._limit)}")
        self._check()
        if self._action.before:
            self._conn.execute(self._action.before)
        if self._prepared:  # a GRANT on a schema, for example, makes the server discard all plans
            self._conn.execute(f"explain execute {_CHECK}")
        row = self._conn.execute("select pg_catalog.pg_current_xact_id()::pg_catalog.text as xid").fetchone()
        return str(row["xid"]) if row else ""

    def _take_locks(self) -> float:
        """Take the locks and check that nothing has changed; return the time when planrun got them."""
        self._lock(self._limit)
        locked = time.monotonic()
        self._check()
        return locked

    def _check(self) -> None:
        if not self._action.check:
            return
        if not self._prepared:
            self._conn.execute(f"prepare {_CHECK} as\n{self._action.check}")
            self._prepared = True
        self._refuse(self._conn.execute(f"execute {_CHECK}").fetchall())

    def _lock(self, limit: float) -> None:
        """Take all locks within the limit; lock_timeout alone would apply to each of them separately.

        planrun takes them in OID order, except that tables of an earlier deadlock come first: the other connection will
        probably lock them in the same order again, so planrun follows it.
        """
        longer = f"set local statement_timeout = {_milliseconds(self._action.hold_timeout + _SPARE)}"
        if not self._action.locks:
            self._conn.execute(longer)
            return
        self._conn.execute(f"set local statement_timeout = {_milliseconds(limit)}")
        first = "".join(f"{name}, " for name in self._first)
        try:
            self._conn.execute(f"{self._action.locks.replace('lock table ', f'lock table {first}', 1)};\n{longer}")
        except psycopg.errors.DeadlockDetected as exc:
            self._rollback()
            raise self._deadlock(exc) from exc
        except psycopg.errors.QueryCanceled as exc:
            self._cancel.check()
            message = f"{self._action.what}: could not get the locks within {limit:g} s"
            raise TargetError(message, category="lock", code="PR0405") from exc

    def _deadlock(self, exc: psycopg.Error) -> TargetError:
        """Return the error that names who waited for planrun, and remember which table to request first from now on."""
        waits = _WAITED.findall(exc.diag.message_detail or "")
        ours = next((wait for wait in waits if int(wait[0]) == self._conn.info.backend_pid), None)
        if ours is None:  # behind a pooler, or if the lock is not on a relation
            return target_error(exc, self._action.what)
        row = self._conn.execute(sqlfile.fill(_NAMES, oid=literal(int(ours[1])), pid=literal(int(ours[2])))).fetchone()
        if row is None:
            return target_error(exc, self._action.what)
        name = TableName.of(row).sql
        self._first = [name, *(each for each in self._first if each != name)]
        table = str(TableName.of(row))
        return TargetError(
            f"{self._action.what}: a deadlock with {row['who']}, which holds {table} and waits for a lock that "
            "planrun held",
            hint=f"the next attempt asks for {table} first; planrun ends no connection",
            category="deadlock",
            code="PR0406",
        )

    def _too_long(self) -> TargetError:
        return TargetError(
            f"{self._action.what}: not done after {self._action.hold_timeout:g} s under the locks; nothing was changed",
            hint=f"find out what takes long (planrun diff {PLAN} shows the statements), or raise `hold_timeout:`",
            category="timeout",
            code="PR0407",
        )

    def _attempt_limits(self) -> tuple[bool, float]:
        """Return whether planrun may lower its deadlock_timeout, and for how many seconds this attempt waits."""
        major = self._conn.info.server_version // 10000
        row = self._conn.execute(sqlfile.fill(_DEADLOCK, eager=SqlText(_MAY_LOWER[min(major, 15)]))).fetchone()
        eager, theirs = (bool(row["eager"]), float(row["seconds"])) if row else (False, 1.0)
        usual = _LIMIT if eager else theirs * (_ABOVE if self._watch.only_autovacuum else _BELOW)
        return eager, self._action.lock_timeout or usual

    def _refuse(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            found = [str(next(iter(row.values()))) for row in rows[:20]]
            raise TargetError(
                f"{self._action.what}: check failed: {'; '.join(found)}", hint=self._action.hint, code="PR0518"
            )

    def _catch_up(self) -> None:
        """Do most of the work before the locks: round after round, until few keys are left."""
        if not self._action.backlog:
            return
        for _ in range(_ROUNDS):
            row = self._conn.execute(self._action.backlog).fetchone()
            if not row or int(next(iter(row.values()))) <= _FEW:
                return
            self._conn.execute("begin isolation level repeatable read")
            self._conn.execute(join_statements(self._action.catch_up))
            self._conn.execute("commit")

    def _rollback(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self._conn.execute("rollback")
