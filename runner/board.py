"""Keep what is known of the step that is at work, from the events of a run: for displays, signals and the journal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from runner.events import (
    ActionDone,
    ActionProgress,
    AtWork,
    Event,
    Retrying,
    RunBegan,
    RunEnded,
    ServerProgress,
    StepEnded,
    StepPlanned,
    Waiting,
)

_FRESH = 10.0
"""Seconds for which a message of a server about a lock or a command counts; planrun asks about every 4 s."""


class Board:
    """The step that is at work. `take` and `at_work` may be called from any thread.

    diffing: a diff is being made, in which no step is at work.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self.diffing = False
        self._path, self._uses, self._began = "", "", 0.0
        self._told: AtWork | None = None
        self._actions: dict[str, ActionProgress] = {}
        self._server: dict[str, tuple[float, ServerProgress]] = {}

    def take(self, event: Event) -> None:
        with self._lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunBegan(mode=mode):
                self._clear()
                self.diffing = mode == "diff"
            case StepPlanned(planned=planned) if planned.settled is None and planned.step.kind:
                self._clear()
                self._path, self._uses, self._began = planned.path, planned.step.uses, self._clock()
            case ActionProgress(path=path, key=key) if path == self._path:
                self._actions[key] = event
            case ActionDone(key=key):
                self._actions.pop(key, None)
            case ServerProgress(connection=name):
                self._server[name] = self._clock(), event
            case Waiting(connection=name, message=message):  # said at once, and again with each look of the server
                self._server[name] = self._clock(), ServerProgress(connection=name, lines=(), waits=message)
            case Retrying():
                self._actions.clear()
            case AtWork():
                self._clear()
                self._path, self._uses, self._told = event.path, event.uses, event
                self._began = self._clock() - event.seconds
            case StepEnded() | RunEnded():
                self._clear()
            case _:
                pass

    def _clear(self) -> None:
        self._path = self._uses = ""
        self._told = None
        self._actions.clear()
        self._server.clear()

    def at_work(self) -> AtWork | None:
        """Return what is known now; None if no step is at work."""
        with self._lock:
            now = self._clock()
            if not self._path or self.diffing:
                return None
            if self._told:
                return self._told
            fresh = [event for at, event in self._server.values() if now - at < _FRESH]
            return AtWork(
                path=self._path,
                uses=self._uses,
                seconds=round(now - self._began, 1),
                progress=tuple(self._actions.values()),
                server=tuple(line for event in fresh for line in event.lines),
                waits="; ".join(event.waits for event in fresh if event.waits),
            )
