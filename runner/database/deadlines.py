"""A psycopg connection with deadlines: short statements must be answered in time, and the server must stay alive.

PostgreSQL's own statement_timeout does not help against a server that hangs, and keepalives do not help if a pooler or
the kernel still acknowledges packets. So the client enforces the deadline, in the one place where psycopg waits.
Source: psycopg 3, waiting.py: the generator of an operation is sent READY_NONE (0) several times a second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import psycopg

from runner.cancel import Cancel
from runner.errors import TargetError

RV = TypeVar("RV")

ALLOWANCE = 1.2
"""Seconds that the answer may take after the server's own limit (statement_timeout)."""

_STOPPING = 10.0
"""Seconds that a cancelled statement may take to end, until its connection is given up."""
_ASKING = 5.0
"""Seconds for a cancel request; a server that does not accept one does not answer at all."""


class ResponseDeadline:
    """The state of the server behind one connection name, shared by its connections.

    silent: a connection met a server that does not answer, and none has had an answer since; the others then wait only
    `brief` seconds. met: the server answered once. stopping: returns whether the run was asked to stop.
    """

    brief = 10.0
    last = 5.0
    """Seconds to wait for an answer after planrun was asked to stop."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self.silent, self.met, self._stopping = False, False, stopping
        self._heard = time.monotonic()

    def note_answer(self) -> None:
        """Note that the server has answered."""
        self._heard, self.silent, self.met = time.monotonic(), False, True

    @property
    def silence(self) -> float:
        """Seconds since the last answer; meaningful only while a query is waiting."""
        return time.monotonic() - self._heard

    @property
    def hopeless(self) -> bool:
        """Return whether to give up at once: the server is silent and the run was asked to stop."""
        return self.silent and self._stopping()

    def longest(self, limit: float) -> float:
        """Return how long to wait, at most the given time."""
        if self.hopeless:
            return min(limit, 1.0)
        limit = min(limit, self.brief) if self.silent else limit
        return min(limit, self.last) if self._stopping() else limit


class DeadlineConnection(psycopg.Connection[dict[str, Any]]):
    """A connection whose statements must be answered in time, except in `without_deadline`; `give_up` ends any wait.

    The connection is then closed, and psycopg.OperationalError says how long no answer came.
    """

    response_deadline: ResponseDeadline
    _limit, _always, _without_deadline, _given_up = 0.0, False, 0, False

    @property
    def limit(self) -> float:
        return self._limit

    @property
    def always(self) -> bool:
        return self._always

    def set_deadline(self, response_deadline: ResponseDeadline, limit: float, *, always: bool) -> None:
        """Set the limits: seconds for a statement; always: also inside `without_deadline`."""
        self.response_deadline, self._limit, self._always = response_deadline, limit, always

    @contextlib.contextmanager
    def without_deadline(self) -> Iterator[None]:
        """Let statements take any time. The caller makes sure that `give_up` is called when needed."""
        self._without_deadline += 1
        try:
            yield
        finally:
            self._without_deadline -= 1

    def give_up(self) -> None:
        """End all current and later waits for this server. May be called from any thread; returns at once."""
        self._given_up = True

    def wait(self, gen: Generator[Any, Any, RV], *args: Any, **words: Any) -> RV:
        watched = _Watched(self)
        try:
            return super().wait(watched.over(gen), *args, **words)
        except _Silent as exc:
            self.close()
            raise psycopg.OperationalError(str(exc)) from None
        except psycopg.OperationalError as exc:
            if "timed out" in str(exc):  # ETIMEDOUT: keepalives, tcp_user_timeout
                self.response_deadline.silent = True
            raise

    def seconds_allowed(self) -> float | None:
        """Return how many seconds may now pass without an answer; 0 after `give_up`."""
        if self._given_up:
            return 0.0
        if self._without_deadline and not self._always:
            return None
        return self.response_deadline.longest(self._limit)


class _Silent(Exception):
    """The server did not answer."""


class _Watched:
    """One wait of one connection."""

    def __init__(self, conn: DeadlineConnection) -> None:
        self._conn, self._since = conn, time.monotonic()

    def over(self, gen: Generator[Any, Any, RV]) -> Generator[Any, Any, RV]:
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                self._look(ready)
                wanted = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result

    def _look(self, ready: object) -> None:
        if ready:
            self._since = time.monotonic()
            self._conn.response_deadline.note_answer()
            return
        allowed, waited = self._conn.seconds_allowed(), time.monotonic() - self._since
        if allowed is not None and waited >= allowed:
            if allowed:
                self._conn.response_deadline.silent = True
            raise _Silent(f"the server did not answer for {waited:.0f} s")


# ------------------------------------------------------------------ stopping


@contextlib.contextmanager
def cancellable(conn: psycopg.Connection[Any], cancel: Cancel) -> Iterator[None]:
    """Cancel the running statement if asked to stop, and raise the reason instead of PostgreSQL's 57014.

    Until then the statement may take any time, if the connection's statement_timeout is 0 or the role's. The request to
    cancel is repeated until the block is left, because one that arrives between two statements stops neither of them.
    A request that is on its way is awaited, because it could hit a later statement of another user of the connection.
    If the server does not react, the connection is given up.
    """
    left, asking = threading.Event(), threading.Lock()

    def stop() -> None:
        with _give_up_after(conn, left):
            while not left.is_set():
                with asking, contextlib.suppress(psycopg.Error):
                    if not left.is_set():
                        _ask_to_cancel(conn)
                left.wait(0.2)

    with cancel.on_cancel(stop), _without_deadline(conn):
        try:
            yield
        except (psycopg.Error, TargetError):
            cancel.check()
            raise
        finally:
            left.set()
            if not asking.acquire(timeout=2 * _ASKING):
                conn.close()  # then the request hits no statement
    cancel.check()


@contextlib.contextmanager
def not_for_ever(conn: psycopg.Connection[Any], cancel: Cancel) -> Iterator[None]:
    """Let a statement that must not be cancelled, a COMMIT, take as long as it needs, and give the connection up some
    time after a cancel. Raises the reason of a cancel before it begins, and psycopg.Error if no answer came."""
    left = threading.Event()

    def stop() -> None:
        with _give_up_after(conn, left):
            left.wait()

    with cancel.on_cancel(stop), _without_deadline(conn):
        try:
            yield
        finally:
            left.set()


@contextlib.contextmanager
def _give_up_after(conn: psycopg.Connection[Any], left: threading.Event) -> Iterator[None]:
    """Give the connection up if the block takes too long; at once if its server is known to be silent."""

    def give_up() -> None:
        if isinstance(conn, DeadlineConnection) and not left.is_set():
            conn.give_up()

    timer = threading.Timer(_STOPPING, give_up)
    timer.daemon = True
    timer.start()
    try:
        if isinstance(conn, DeadlineConnection) and conn.response_deadline.silent:
            give_up()
        yield
    finally:
        timer.cancel()


def _ask_to_cancel(conn: psycopg.Connection[Any]) -> None:
    try:
        conn.cancel_safe(timeout=_ASKING)
    except psycopg.errors.CancellationTimeout:
        if isinstance(conn, DeadlineConnection):
            conn.response_deadline.silent = True
            conn.give_up()


def _without_deadline(conn: psycopg.Connection[Any]) -> contextlib.AbstractContextManager[None]:
    return conn.without_deadline() if isinstance(conn, DeadlineConnection) else contextlib.nullcontext()
