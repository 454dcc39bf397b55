"""The measures of a plan's runs: what a metrics file says of them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from runner.events import Event, RunBegan, RunEnded, StepEnded, StepPlanned
from runner.journal.history import RunRecord
from runner.kinds import KINDS

RUNNING, REFUSED = "running", "refused"
STATES = ("ok", "paused", "failed", "interrupted", "cut off", REFUSED, RUNNING)
"""How a run ended. refused: it did not begin. cut off: it was killed."""
SUCCESS = "ok"
MODES = ("apply", "rollback", "abort")


@dataclass(frozen=True, kw_only=True)
class StepMeasures:
    """What one step of a run did: its state, seconds of work, rows and bytes moved, seconds under its locks."""

    state: str
    seconds: float = 0.0
    rows: int = 0
    bytes: int = 0
    locked: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunMeasures:
    """The newest run of one mode. Times are seconds since 1970 (UTC), None if unknown.

    started: of its first attempt. exit_code: None while it runs. steps: by path, the items of a for_each added up; None
    if they are not known. success: when the newest good run ended. counts: how many runs ended in which state, this
    one included. None for success and counts: only this run is known, and what is known of earlier ones stays.
    """

    mode: str
    state: str
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    steps: Mapping[str, StepMeasures] | None = field(default_factory=dict)
    success: float | None = None
    counts: Mapping[str, int] | None = None

    def total(self, name: str) -> float:
        """Return the sum of a measure (rows, bytes, locked) over the steps."""
        return float(sum(getattr(step, name) for step in (self.steps or {}).values()))


# ------------------------------------------------------------------ from the events of a run


class RunWatch:
    """Collects the measures of a run from its events; those of the diff before it are left out."""

    def __init__(self) -> None:
        self.found: RunMeasures | None = None
        self._kinds: dict[str, str] = {}
        self._diffing = False

    def event(self, event: Event, at: float) -> bool:
        """Take an event that happened at `at`; return whether a run has begun or ended with it."""
        if isinstance(event, RunBegan):
            self._diffing = event.mode == "diff"
            if not self._diffing:
                mode = "apply" if event.mode == "resume" else event.mode
                self.found = RunMeasures(mode=mode, state=RUNNING, started=_moment(event.started) or at)
        if self._diffing or self.found is None:
            return False
        match event:
            case StepPlanned(planned=planned):
                self._kinds[planned.path] = planned.step.kind
            case StepEnded(outcome=one) if kind := self._kinds.get(one.path):  # groups have no kind
                measured = _measure(kind, one.state.value, one.seconds, one.outputs)
                self.found = _with_step(self.found, one.path, measured)
            case RunEnded():
                self.found = replace(self.found, state=event.state, ended=at, exit_code=event.exit_code)
        return isinstance(event, RunBegan | RunEnded)


# ------------------------------------------------------------------ from the journal


def of_runs(runs: Sequence[RunRecord], mode: str) -> RunMeasures | None:
    """Return the measures of the newest run of a mode, and how all of them ended; None without one.

    runs: those of one plan, oldest first. Declined runs do not count: nothing was done.
    """
    ours = [run for run in runs if run.mode == mode and run.state != "declined"]
    if not ours:
        return None
    last = ours[-1]
    found = RunMeasures(
        mode=mode,
        state=last.state,
        started=_moment(last.started) or (last.began.timestamp() if last.began else None),
        ended=last.ended.timestamp() if last.ended else None,
        exit_code=last.exit_code,
        success=max((run.ended.timestamp() for run in ours if run.state == SUCCESS and run.ended), default=None),
        counts=dict(Counter(run.state for run in ours)),
        steps=None if last.brief else {},
    )
    every = last.every()
    for path, outcome in last.outcomes.items():
        kind = str(every.get(path, {}).get("uses", ""))
        if kind in KINDS:
            measured = _measure(kind, outcome["state"], outcome.get("seconds", 0.0), outcome.get("outputs", {}))
            found = _with_step(found, path, measured)
    return found


# ------------------------------------------------------------------ both


def _with_step(run: RunMeasures, path: str, new: StepMeasures) -> RunMeasures:
    """Return the run with one more step. The items of a group's for_each (`each[2].dump`) are one step."""
    name = re.sub(r"\[\d+\]", "", path)
    steps = run.steps or {}
    old = steps.get(name)
    if old is not None and name != path:
        new = StepMeasures(
            state=old.state if old.state == "failed" else new.state,
            seconds=old.seconds + new.seconds,
            rows=old.rows + new.rows,
            bytes=old.bytes + new.bytes,
            locked=old.locked + new.locked,
        )
    return replace(run, steps={**steps, name: new})


def _measure(kind: str, state: str, seconds: float, outputs: Mapping[str, Any]) -> StepMeasures:
    """Return the measures of a step, by what its kind declares of its outputs."""
    sums = {"rows": 0.0, "bytes": 0.0, "locked_ms": 0.0}
    for name, output in KINDS[kind].OUTPUTS.items():
        if output.measure:
            sums[output.measure] += sum(map(_number, _values(outputs, name)))
    return StepMeasures(
        state=state, seconds=seconds, rows=int(sums["rows"]), bytes=int(sums["bytes"]), locked=sums["locked_ms"] / 1000
    )


def _values(outputs: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Yield the values of an output: that of the step, or those of the items of its for_each."""
    results = outputs.get("results")
    for one in results if isinstance(results, list | tuple) else [outputs]:
        yield one.get(name) if isinstance(one, Mapping) else None


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _moment(text: str) -> float | None:
    """Return a time in RFC 3339 as seconds since 1970; None if the text is not such a time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo else None
