"""planrun status --watch: show what the run shows, from another terminal or host, until it ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runner.cancel import Cancel
from runner.errors import Interrupted, UsageError
from runner.report.colours import show
from runner.units import duration
from runner.words import json_text, one_line

if TYPE_CHECKING:
    from runner.events import Event
    from runner.journal.history import RunRecord
    from runner.journal.records import Record
    from runner.model import Plan


def seconds_of(text: str) -> float:
    """Return `--interval` in seconds. Raises UsageError."""
    try:
        found = duration(float(text) if text.isdigit() else text)
    except ValueError as exc:
        raise UsageError(f"--interval: {exc}", hint="for example --interval 2s", code="PR1116") from None
    if not 0.1 <= found <= 3600:
        hint = "for example --interval 2s"
        raise UsageError("--interval is not between 100 ms and an hour", hint=hint, code="PR1116")
    return found


def follow(plan: Plan, every: float, output: str) -> RunRecord | None:
    """Show the newest run of the plan until it ends; return it. Ctrl-C ends the watching and not the run."""
    from runner import api
    from runner.cli.common import progress_on_signal
    from runner.report import results

    with (
        results.listen("text", brief=results.share_one_place(), watching=True) as listener,
        progress_on_signal(listener.ask),
    ):

        def tell(record: Record, event: Event) -> None:
            if output == "jsonl":
                print(json_text({name: value for name, value in record.items() if name != "content"}), flush=True)
            else:
                listener.event(event)

        def say(text: str) -> None:
            with listener.pause():
                show(f"warning: {one_line(text)}", sys.stderr, flush=True)

        try:
            return api.watch(plan, tell, say, every=every, cancel=Cancel())
        except KeyboardInterrupt:
            raise Interrupted("the watching ended, the run goes on", signal=2) from None


def exit_code(run: RunRecord | None) -> int:
    """Return the exit code of the run that was watched; 1 if it was cut off, 0 if there is none."""
    if run is None:
        return 0
    return run.exit_code if run.exit_code is not None else 1
