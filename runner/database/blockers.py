"""Find blockers: while planrun works, another connection queries which locks planrun's connections wait for.

PostgreSQL's own error only says that a lock was not available. The same queries show whether the server is alive: long
work is stopped if the server no longer answers them. On the same connection the server is asked how far its commands
are. Sources: PostgreSQL docs 9.27.1 (pg_blocking_pids), 27.4 (progress reporting).
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg

from runner import sqlfile
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.errors import PlanrunError, TargetError

FIRST = 1.0
"""Seconds until the first query: a person who waits for a diff should soon learn why nothing happens."""
EVERY = 2.0
"""Seconds between two queries: less than half of planrun's lock_timeout, so that each wait is seen before it times
out."""

# The statement of the other connection is not read: it may contain data that planrun must not show.
_BLOCKERS = sqlfile.read("server/blockers.sql")
_PROGRESS = sqlfile.read("server/progress.sql")

See = Callable[[str, str, Sequence[Mapping[str, Any]]], object]
"""Called after each look with the connection, the lock that planrun waits for ("" if none) and rows of progress.sql."""


class Watch:
    """Watches the lock waits of one run's connections, which all have its application_name.

    emit: called from another thread with the connection and the awaited lock, once for each wait. ended: called, from
    any thread, with the connection and the seconds when no lock is awaited there any more. see: called from another
    thread after each look; without it the server is not asked how far its commands are.
    """

    def __init__(
        self,
        connections: Connections,
        every: float = 0.0,
        emit: Callable[[str, str], object] = lambda name, what: None,
        ended: Callable[[str, float], object] = lambda name, seconds: None,
        see: See | None = None,
    ) -> None:
        self._connections, self._every = connections, every or min(EVERY, connections.answer / 4)
        self.emit, self.ended, self.see = emit, ended, see
        self._lock = threading.Lock()
        self._looking: dict[str, _Look] = {}
        self.only_autovacuum = False
        """Whether only an autovacuum blocked the last wait that ended in an error."""

    @contextlib.contextmanager
    def over(self, name: str, cancel: Cancel | None = None) -> Iterator[None]:
        """If the block raises an error because a lock was not available, add to it who held the lock.

        cancel: stops the block when the server stops answering; without it the block's own statements have deadlines.
        """
        look = self._begin(name or self._connections.default(), cancel)
        try:
            yield
        except TargetError as exc:
            if exc.category == "lock":
                fresh = _tell(exc, look)
                self.only_autovacuum = bool(fresh) and all(one["autovacuum"] for one in fresh)
            raise
        finally:
            self._end(look, cancel)

    def note_progress(self) -> None:
        """Note that the watched connections make progress, so their servers are alive."""
        with self._lock:
            looks = list(self._looking.values())
        for look in looks:
            look.response_deadline.note_answer()

    def _begin(self, name: str, cancel: Cancel | None) -> _Look:
        with self._lock:
            look = self._looking.get(name) or _Look(
                self._connections, name, self._every, self.emit, self.ended, self.see
            )
            self._looking[name] = look
            look.users.append(cancel)
        return look

    def _end(self, look: _Look, cancel: Cancel | None) -> None:
        with self._lock:
            look.users.remove(cancel)
            if look.users:
                return
            del self._looking[look.name]
        look.stop()


class _Look:
    """A thread that queries one database as long as a block works there."""

    def __init__(
        self,
        connections: Connections,
        name: str,
        every: float,
        emit: Callable[[str, str], object],
        ended: Callable[[str, float], object],
        see: See | None,
    ) -> None:
        self.connections, self.name, self.every = connections, name, every
        self.emit, self.ended, self.see = emit, ended, see
        self._tells, self._since = threading.Lock(), 0.0
        self.users: list[Cancel | None] = []
        self.response_deadline = connections.response_deadline(name)
        self.response_deadline.note_answer()
        self.done = threading.Event()
        self.seen: list[dict[str, Any]] = []
        self.at = 0.0
        threading.Thread(target=self._go, name="planrun-watch", daemon=True).start()

    def _go(self) -> None:
        wait = min(FIRST, self.every)
        while not self.done.wait(wait):
            wait = self.every
            try:
                self._ask()
            except PlanrunError:  # no free connection on the server: then no blocker is named
                self._stop_if_silent()

    def _stop_if_silent(self) -> None:
        if self.response_deadline.silent and self.response_deadline.silence >= self.connections.answer:
            for cancel in [user for user in self.users if user]:
                cancel.cancel(
                    TargetError(
                        f"the server has not answered for {self.response_deadline.silence:.0f} s",
                        where=f"connection {self.name}" if self.name else None,
                        hint="planrun doctor shows whether it is back; then run again",
                        category="connection",
                        code="PR0403",
                    )
                )

    def _ask(self) -> None:
        with self.connections.open(self.name, read_only=True, statement_timeout="5s") as conn, translate_errors():
            found = conn.execute(_BLOCKERS).fetchall()
            progress = _progress(conn) if self.see else []
        with self._tells:  # nothing is told once `stop` has returned
            if self.done.is_set():
                return
            if found:
                if not self._since or {_key(one) for one in found} - {_key(one) for one in self.seen}:
                    self._since = self._since or time.monotonic()
                    self.emit(self.name, _wait_text(found))
                self.seen, self.at = found, time.monotonic()
            else:
                self._end_wait()
            if self.see:
                self.see(self.name, _wait_text(found) if found else "", progress)

    def stop(self) -> None:
        """Look no more."""
        with self._tells:
            self.done.set()
            self._end_wait()

    def _end_wait(self) -> None:
        since, self._since = self._since, 0.0
        if since:
            self.ended(self.name, time.monotonic() - since)


def _progress(conn: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the server says of planrun's commands; nothing if it does not answer, because no work needs it."""
    try:
        return conn.execute(_PROGRESS).fetchall()
    except psycopg.Error:
        return []


def _tell(exc: TargetError, look: _Look) -> list[dict[str, Any]]:
    """Add to the error the blockers that were seen last; return them."""
    fresh = look.seen if time.monotonic() - look.at <= max(2 * look.every, 1) else []
    if fresh:
        waited = _wanted_locks(fresh)
        exc.message += f"; waited for {waited}" if waited else ""
        exc.message += f"; blocked by: {'; '.join(map(_who, fresh))}"
        pids = ", ".join(str(one["pid"]) for one in fresh)
        look_there = f"select * from pg_stat_activity where pid in ({pids})"
        exc.hint = f"wait until it ends or ask its owner, then run again; this shows what it does: {look_there}"
    return fresh


def _wanted_locks(found: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(f"{_mode(one['wanted'])} on {one['relation']}" for one in found if one["relation"]))


def _wait_text(found: Sequence[Mapping[str, Any]]) -> str:
    return f"waits for {_wanted_locks(found) or 'a lock'}; blocked by: {'; '.join(map(_who, found))}"


def _key(one: Mapping[str, Any]) -> tuple[Any, ...]:
    return one["pid"], one["relation"], one["wanted"]


def _who(one: Mapping[str, Any]) -> str:
    if not one["pid"]:
        return "a prepared transaction (select * from pg_prepared_xacts)"
    words = [f"user {one['user']}" if one["user"] else "", f"application {one['application'] or 'without a name'}"]
    words += [one["state"] or "", f"transaction since {one['began']}" if one["began"] else ""]
    words += [f"last statement began {one['asked']}" if one["asked"] else ""]
    words += [f"holds {_mode(one['held'])}" if one["held"] else ""]
    return f"pid {one['pid']} ({', '.join(word for word in words if word)})"


def _mode(name: str) -> str:
    """Return lock modes as SQL writes them.

    >>> _mode("AccessExclusiveLock, RowShareLock")
    'ACCESS EXCLUSIVE, ROW SHARE'
    """
    return ", ".join(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", one.removesuffix("Lock")).upper() for one in name.split(", "))
