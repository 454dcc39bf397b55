"""Measure how long this process was stopped: by a signal (Ctrl-Z), a frozen container or a sleeping machine.

The server does not wait during that time: it ends planrun's connection. Depending on who notices first (a failing read,
a failing write, a late timer), the error differs. So this module measures how long the process was stopped.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

from runner.errors import TargetError

_TICK = 0.1
"""Seconds between two readings of the clock."""
_ALMOST = 0.9
"""The fraction of the server's limit that counts: the server started its timer before this process was stopped."""
# time.monotonic leaves out the sleep of the machine, on Linux and on macOS; these clocks do not (clock_gettime(2)).
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Standstill:
    """A context manager around a transaction that the server ends after `limit` idle seconds.

    If this process was stopped for that long inside it, any TargetError about a lost connection or a timeout is
    replaced by one that gives this reason. `longest` is the time, in seconds.
    Source: PostgreSQL docs 20.11.1 (idle_in_transaction_session_timeout).
    """

    def __init__(self, limit: float) -> None:
        self._limit, self._longest, self._last, self._left = limit, 0.0, _now(), threading.Event()

    def __enter__(self) -> Standstill:
        self._last = _now()
        threading.Thread(target=self._watch_clock, name="planrun-standstill", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._left.set()
        if not isinstance(exc, TargetError) or exc.category not in ("connection", "timeout"):
            return
        if (missed := self.longest) >= self._limit * _ALMOST:
            raise TargetError(
                f"planrun was suspended for {missed:.0f} s during a transaction, so the server released its locks; "
                "nothing was changed",
                where=exc.where,
                hint="it was stopped (Ctrl-Z, kill -STOP), frozen or asleep with its machine; run again",
                category="connection",
                sqlstate=exc.sqlstate,
                code="PR0409",
            ) from exc

    @property
    def longest(self) -> float:
        return max(self._longest, _now() - self._last - _TICK)

    def _watch_clock(self) -> None:
        while not self._left.wait(_TICK):
            self._longest, self._last = self.longest, _now()


def _now() -> float:
    return time.clock_gettime(_CLOCK)
