"""Places besides the terminal that receive the events of a run: a report, metrics, a log. None can change the run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Protocol

from runner.events import Emit, Event
from runner.report.colours import show
from runner.words import one_line


class Sink(Protocol):
    """Receives the events of a diff and of the run after it, in their order.

    name: what a warning calls it, such as the option that asked for it. `event` and `close` may raise any exception:
    the sink then gets nothing more, and the run goes on. `close` is called once, also if the run could not begin.
    """

    name: str

    def event(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Sinks:
    """Several sinks as one receiver of events. A sink that fails is told once, as a warning on stderr."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = list(sinks)

    def after(self, first: Emit) -> Emit:
        """Return a receiver that gives each event to `first`, then to the sinks."""

        def event(event: Event) -> None:
            first(event)
            for sink in tuple(self._sinks):
                try:
                    sink.event(event)
                except Exception as exc:  # whatever it is, the run matters more
                    self._leave_out(sink, exc)

        return event

    def close(self) -> None:
        for sink in tuple(self._sinks):
            try:
                sink.close()
            except Exception as exc:  # as above
                self._leave_out(sink, exc)

    def _leave_out(self, sink: Sink, exc: Exception) -> None:
        self._sinks.remove(sink)
        show(f"warning: {sink.name} gets nothing more of this run: {one_line(str(exc) or repr(exc))}", sys.stderr)
