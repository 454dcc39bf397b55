"""A record of the journal, and what every journal can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from runner.events import ActionDone, ActionProgress, AtWork, Event, Progress, Resuming, ServerProgress, to_json

Record = Mapping[str, Any]


class Journal(Protocol):
    """The place of the records of a plan."""

    place: str

    def write(self, run: str, event: Event) -> None: ...

    def note(self, run: str, at_work: AtWork) -> None:
        """Write how far the step at work is, in the place of what was noted before. Raises any exception."""
        ...

    def records(self, *, brief: bool = False, run: str = "") -> Iterable[Record]:
        """Yield the records in their order. brief: at least those of the newest run of each plan, and of each other
        run how it began and ended. run: only those of this run.
        """
        ...

    def milestones(self) -> Iterable[Record]:
        """Yield how each run began and ended, and how its steps ended that made, proved or restored a session."""
        ...

    def since(self, mark: int) -> tuple[list[Record], int]:
        """Return the records behind a mark and what is noted now, and the mark for the next call.

        0 gives at least those of `records(brief=True)`. A record may come twice.
        """
        ...

    def close(self) -> None: ...


def record_of(run: str, event: Event) -> dict[str, Any]:
    return {"run": run, **to_json(event)}


def is_kept(event: Event) -> bool:
    passing = (Progress, ActionProgress, ServerProgress, AtWork, Resuming)
    return not isinstance(event, passing) and not (isinstance(event, ActionDone) and event.stamped)


def is_milestone(record: Record) -> bool:
    """Return whether a record tells how a run began or ended, or how a step with a backup session ended."""
    outputs = record.get("outputs")
    has_session = isinstance(outputs, Mapping) and "session" in outputs
    return record.get("event") in ("run_began", "run_ended") or (record.get("event") == "outcome" and has_session)
