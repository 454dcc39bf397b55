"""A process that does one run of a case and kills itself at a step: SIGKILL leaves nobody time to tidy up.

The run is described on standard input, as JSON: runner/cases/trial.py writes it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from runner.cases import case_file
from runner.cases.case import Fault
from runner.cases.trial import MARKER, Trial
from runner.events import ActionDone, Emit, Event, StepPlanned


def main() -> int:
    spec = json.loads(sys.stdin.read())
    path, folder = Path(spec["file"]), Path(spec["folder"])
    case = next(one for one in case_file.read(path, str(path), os.environ) if one.name == spec["name"])
    move = case.moves[spec["move"]]
    assert move.fault is not None
    trial = Trial(case, spec["words"], folder, os.environ, spec["programs"])
    return trial.run(move, kill_at(move.fault, folder / MARKER)).exit_code


def kill_at(fault: Fault, marker: Path) -> Emit:
    """Return a listener that kills this process at a step. An event is told after it is in the journal."""

    def listen(event: Event) -> None:
        if fault.after:
            reached = isinstance(event, ActionDone) and event.path == fault.step
        else:
            reached = isinstance(event, StepPlanned) and event.planned.path == fault.step
            reached = reached and isinstance(event, StepPlanned) and event.planned.settled is None
        if reached:
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return listen


if __name__ == "__main__":
    sys.exit(main())
