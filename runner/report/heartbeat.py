"""Say that a step is at work when nothing else was printed for a while, and when somebody asks by a signal."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Self

from runner.board import Board
from runner.errors import UsageError
from runner.events import AtWork
from runner.units import duration

INTERVAL = "PLANRUN_PROGRESS_INTERVAL"
"""The variable that says after how much silence a line tells how far the step at work is."""
EVERY = 30.0
EVERY_JSON = 5.0

Tell = Callable[[AtWork | None, bool], object]
"""Called with the step at work, and whether somebody asked; the step is None only then."""


def interval(env: Mapping[str, str], default: float = EVERY) -> float:
    """Return the seconds of silence after which a line is printed. Raises UsageError if the variable is no duration."""
    text = env.get(INTERVAL, "")
    try:
        found = duration(float(text) if text.isdigit() else text) if text else default
    except ValueError as exc:
        raise UsageError(f"{INTERVAL}: {exc}", hint=f"for example {INTERVAL}=30s", code="PR1115") from None
    if not 0.1 <= found <= 86400:
        hint = f"for example {INTERVAL}=30s"
        raise UsageError(f"{INTERVAL} is not between 100 ms and a day", hint=hint, code="PR1115")
    return found


class Heartbeat:
    """A thread that tells of the step at work, for use in a `with`. every: seconds of silence, None: only if asked."""

    def __init__(self, board: Board, tell: Tell, every: float | None) -> None:
        self._board, self._tell, self._every = board, tell, every
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._said = time.monotonic()
        self._thread = threading.Thread(target=self._go, name="planrun-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(False)
        self._thread.join(timeout=2)

    def ask(self) -> None:
        """Have the step at work told now. A signal handler may call it at any moment, because this `put` may interrupt
        itself (Python docs, queue.SimpleQueue)."""
        self._asked.put(True)

    def note_line(self) -> None:
        """Note that something else was printed."""
        self._said = time.monotonic()

    def _go(self) -> None:
        while (asked := self._wait()) is not False:
            at_work = self._board.at_work()
            if asked or at_work:
                self._said = time.monotonic()
                self._tell(at_work, bool(asked))

    def _wait(self) -> bool | None:
        """Wait; return True if somebody asked, None if it was silent for long, False at the end."""
        while True:
            left = None if self._every is None else self._said + self._every - time.monotonic()
            if left is not None and left <= 0:
                self._said = time.monotonic()
                return None
            try:
                return self._asked.get(timeout=left)
            except queue.Empty:
                continue
