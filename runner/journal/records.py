"""A record of the journal, and what every journal can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from runner.events import ActionDone, Event, Progress, Resuming, to_json

Record = Mapping[str, Any]


class Journal(Protocol):
    """The place of the records of a plan."""

    place: str

    def write(self, run: str, event: Event) -> None: ...

    def records(self, *, brief: bool = False) -> Iterable[Record]:
        """Yield the records in their order. brief: at least those of the newest run of each plan, and of each other
        run how it began and ended.
        """
        ...

    def close(self) -> None: ...


def record_of(run: str, event: Event) -> dict[str, Any]:
    return {"run": run, **to_json(event)}


def is_kept(event: Event) -> bool:
    return not isinstance(event, Progress | Resuming) and not (isinstance(event, ActionDone) and event.stamped)
