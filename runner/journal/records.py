"""A record of the journal, and what every journal can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from runner.events import ActionDone, Event, Progress, Resuming, to_json

Record = Mapping[str, Any]


class Journal(Protocol):
    """Where the records of a plan are."""

    place: str

    def write(self, run: str, event: Event) -> None: ...

    def records(self) -> Iterable[Record]: ...

    def close(self) -> None: ...


def record_of(run: str, event: Event) -> dict[str, Any]:
    return {"run": run, **to_json(event)}


def is_kept(event: Event) -> bool:
    return not isinstance(event, Progress | Resuming) and not (isinstance(event, ActionDone) and event.stamped)
