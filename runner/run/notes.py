"""Note in the journal how far the step at work is, every few seconds, for who watches from elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from runner.board import Board
from runner.events import AtWork

EVERY = 5.0
"""Seconds between two notes."""
_FIRST = 1.5
_FAILURES = 3
"""After so many failures in a row no more notes are written: a run does not depend on them."""


@contextlib.contextmanager
def take_notes(board: Board, note: Callable[[AtWork], object], every: float = EVERY) -> Iterator[None]:
    """Call `note` with the step at work from another thread during the block. What it raises changes nothing."""
    ended = threading.Event()
    thread = threading.Thread(target=_take, args=(board, note, every, ended), name="planrun-notes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=every)


def _take(board: Board, note: Callable[[AtWork], object], every: float, ended: threading.Event) -> None:
    failures, wait = 0, min(_FIRST, every)
    while not ended.wait(wait) and failures < _FAILURES:
        wait = every
        if at_work := board.at_work():
            try:
                note(at_work)
                failures = 0
            except Exception:  # whatever it is, the run matters more
                failures += 1
