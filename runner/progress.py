"""Measure how far an action is: bytes done of bytes expected in each phase, the rate, and the time that is left.

All numbers are estimates, and every consumer gets the same ones. A phase and the whole action are complete only when
they have ended. The time that is left is unknown until enough is done to tell it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.events import ActionProgress, PhaseProgress

Report = Callable[[int, int, str, str], None]
"""done and total of a phase in bytes, the phase, what is at work. A phase is known from its first report on, and it has
ended when its total is done. Without a phase, only what is at work changes."""

EVERY = 0.25
"""Seconds between two readings that a Meter passes on."""
_BASIS_SECONDS, _BASIS_SHARE = 3.0, 0.02
"""Before this much time has passed and this share is done, nothing is said about the time that is left."""
_WINDOW = 15.0
"""Seconds over which a rate is taken."""
_ALMOST = 0.98
"""The most of a table that counts before its end, because its size is an estimate."""
_SHARE_AT_WORK = 0.99

WEIGHTS: Mapping[str, float] = {
    "rows": 1.0,
    "indexes": 0.5,
    "keys and statistics": 0.25,
    "counting": 0.6,
    "writing": 1.0,
    "checksums": 0.05,
    "reading": 0.2,
    "restoring": 1.0,
    "comparing": 0.5,
}
"""How long a byte of a phase takes, in proportion to the others; rough, as hardware and tables differ more."""


@dataclass
class _Phase:
    name: str
    total: int
    done: int = 0
    inflight: int = 0
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def has_ended(self) -> bool:
        return self.done >= self.total

    @property
    def reached(self) -> int:
        """The bytes that count: never all of them while the phase is at work."""
        return self.total if self.has_ended else min(self.done + self.inflight, int(self.total * _SHARE_AT_WORK))

    def note(self, now: float) -> None:
        if not self.samples or now - self.samples[-1][0] >= 1:
            self.samples.append((now, self.reached))
        while len(self.samples) > 2 and now - self.samples[0][0] > _WINDOW:
            self.samples.popleft()

    def rate(self, now: float) -> float | None:
        if not self.samples or now - self.samples[0][0] < 1:
            return None
        began, before = self.samples[0]
        return max(0.0, (self.reached - before) / (now - began)) or None


class Meter:
    """Turns the reports of one action into readings. Its methods may be called from any thread.

    tell: gets a reading at most every EVERY seconds, and whenever a phase begins or ends, or other work is named.
    """

    def __init__(
        self,
        path: str,
        key: str,
        tell: Callable[[ActionProgress], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._key, self._tell, self._clock = path, key, tell, clock
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._began, self._told, self._what, self._share = clock(), float("-inf"), "", 0.0

    def report(self, done: int, total: int, phase: str, what: str) -> None:
        """Take one report (see Report)."""
        with self._lock:
            now = self._clock()
            turned = self._take(done, total, phase, now) or (not phase and what != self._what)
            self._what = what or self._what
            if not turned and now - self._told < EVERY:
                return
            self._told, reading = now, self._read(now)
        self._tell(reading)

    def note_server(self, inflight: Mapping[str, int]) -> None:
        """Count what a server says is done of a phase's work that has not ended, in bytes by phase."""
        with self._lock:
            for name, phase in self._phases.items():
                phase.inflight = inflight.get(name, 0)
            reading = self._read(self._clock())
        self._tell(reading)

    def _take(self, done: int, total: int, name: str, now: float) -> bool:
        """Note a report; return whether a phase began or ended."""
        if not name or total <= 0:
            return False
        phase = self._phases.get(name)
        if phase is None:
            self._phases[name] = phase = _Phase(name, total, done)
            return True
        before, phase.total = phase.has_ended, total
        if done > phase.done:
            phase.done, phase.inflight = done, 0
        return phase.has_ended and not before

    def _read(self, now: float) -> ActionProgress:
        work = sum(WEIGHTS.get(one.name, 1.0) * one.total for one in self._phases.values())
        done = sum(WEIGHTS.get(one.name, 1.0) * one.reached for one in self._phases.values())
        if work:
            self._share = max(self._share, min(_SHARE_AT_WORK, done / work))
        for one in self._phases.values():
            one.note(now)
        busy = [one for one in self._phases.values() if one.reached and not one.has_ended]
        return ActionProgress(
            path=self._path,
            key=self._key,
            what=self._what,
            phases=tuple(
                PhaseProgress(phase=one.name, done=one.reached, total=one.total, rate=one.rate(now)) for one in busy
            ),
            share=self._share if work else None,
            left=self._seconds_left(now),
        )

    def _seconds_left(self, now: float) -> float | None:
        spent = now - self._began
        if spent < _BASIS_SECONDS or self._share < _BASIS_SHARE:
            return None
        return spent * (1 - self._share) / self._share


class Tally:
    """Counts the bytes of the tables or files of one phase, each of which arrives as a stream of another size.

    How much of a table has arrived is told by its rows, if their number is known, else by the bytes of its stream; what
    a byte of the stream stands for is learned from the tables that are complete.
    """

    def __init__(self, phase: str, sizes: Mapping[Any, int], report: Report, *, stretch: float = 1.0) -> None:
        """sizes: bytes of each table. stretch: bytes of a stream for each of them, until a table is complete."""
        self._phase, self._sizes, self._report, self._stretch = phase, dict(sizes), report, stretch
        self._lock = threading.Lock()
        self._total = sum(self._sizes.values())
        self._ended = self._ended_bytes = self._ended_stream = 0
        self._streams: dict[Hashable, int] = {}
        self._rows: dict[Hashable, int] = {}
        self._parts: dict[Hashable, int] = {}
        self._report(0, self._total, phase, "")

    def add(self, key: Hashable, what: str, data: int, rows: int = 0, of_rows: int = 0) -> None:
        """Count a piece of a table: bytes of the stream, and its rows of all rows, if these are known."""
        with self._lock:
            if key not in self._sizes:
                return
            self._streams[key] = self._streams.get(key, 0) + data
            self._rows[key] = self._rows.get(key, 0) + rows
            self._parts[key] = max(self._parts.get(key, 0), self._part(key, of_rows))
            done = self._bytes_done()
        self._report(done, self._total, self._phase, what)

    def fill(self, keys: Sequence[Hashable], what: str, data: int) -> None:
        """Count a piece of a stream that contains these tables one after the other."""
        with self._lock:
            open_keys = (key for key in keys if self._parts.get(key, 0) < int(self._sizes.get(key, 0) * _ALMOST))
            key = next(open_keys, None)
        if key is not None:
            self.add(key, what, data)

    def complete(self, keys: Sequence[Hashable], what: str) -> None:
        """Count tables as a whole; one that is complete already, or unknown, counts no more."""
        with self._lock:
            for key in keys:
                size = self._sizes.pop(key, 0)
                stream = self._streams.pop(key, 0)
                self._parts.pop(key, None)
                self._ended += size
                if size and stream:
                    self._ended_bytes, self._ended_stream = self._ended_bytes + size, self._ended_stream + stream
            done = self._bytes_done()
        self._report(done, self._total, self._phase, what)

    def _part(self, key: Hashable, of_rows: int) -> int:
        size = self._sizes[key]
        if of_rows > 0:
            share = self._rows[key] / of_rows
        else:
            stretch = self._ended_stream / self._ended_bytes if self._ended_bytes else self._stretch
            share = self._streams[key] / (size * stretch) if size else 0
        return int(size * min(share, _ALMOST))

    def _bytes_done(self) -> int:
        return self._ended + sum(self._parts.values())
