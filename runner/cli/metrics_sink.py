"""The option --metrics: a sink that writes what a run did into a metrics file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.cli.sinks import Sink
from runner.errors import Interrupted, PlanrunError
from runner.report.colours import show
from runner.words import one_line

if TYPE_CHECKING:
    from runner.events import Event
    from runner.model import Plan
    from runner.monitoring.families import Owner

F = TypeVar("F", bound=Callable[..., Any])


def metrics_option(function: F) -> F:
    help_text = "Write metrics of the run for Prometheus: a .prom file, or the folder of node_exporter's collector."
    return click.option("--metrics", type=click.Path(), default="", metavar="FILE", help=help_text)(function)


class MetricsSink:
    """Writes the file when a run begins, so that one that is killed shows, and when it ends."""

    def __init__(self, path: Path, plan: Plan, owner: Owner, mode: str) -> None:
        from runner.monitoring.measures import RunWatch

        self.name = f"--metrics {path}"
        self._path, self._plan, self._owner, self._mode = path, plan, owner, mode
        self._watch = RunWatch()
        self._refused = 0

    def event(self, event: Event) -> None:
        from runner.events import RunEnded

        if self._watch.event(event, time.time()):
            self._write()
        elif isinstance(event, RunEnded) and self._watch.found is None:
            self._refused = event.exit_code  # of the diff: a run that begins all the same says how it ends itself

    def close(self) -> None:
        if self._watch.found is None and self._refused:
            self.end("refused", self._refused)

    def end(self, state: str, exit_code: int) -> None:
        """Write that the run ended with an error that no event told, or could not begin."""
        from dataclasses import replace

        from runner.monitoring.measures import RUNNING, RunMeasures

        now, found = time.time(), self._watch.found
        if found is None:
            self._watch.found = RunMeasures(mode=self._mode, state=state, started=now, ended=now, exit_code=exit_code)
        elif found.state == RUNNING:
            self._watch.found = replace(found, state="failed", ended=now, exit_code=exit_code)
        else:
            return
        self._write()

    def _write(self) -> None:
        from runner.monitoring import families, metrics_file, sessions

        run = self._watch.found
        every = sessions.of_plan(self._plan)
        found = None if every is None else sessions.measure(every, datetime.now(UTC))
        if run is not None:
            metrics_file.update(
                self._path,
                lambda old: families.with_run(families.with_sessions(old, self._owner, found), self._owner, run),
            )


def owner_of(plan: Plan) -> Owner:
    """Return whose samples those of a plan are; no label contains a secret."""
    from runner import api
    from runner.monitoring.families import Owner
    from runner.redact import Redactor

    hide = Redactor(plan.env, os.environ).text
    return Owner(
        plan=hide(plan.name),
        file=hide(str(Path(plan.file).absolute())),
        database=hide(api.database_name(plan, env=os.environ)),
    )


@contextlib.contextmanager
def metrics_sinks(target: str, plan: Plan, mode: str) -> Iterator[list[Sink]]:
    """Yield the sink of --metrics for a run of this mode; none if the option was not given.

    What no event tells, because the run did not begin or was cut short, is written in the end.

    Raises UsageError before the run begins: without the library, or if the file is not for this plan.
    """
    if not target:
        yield []
        return
    from runner.monitoring import metrics_file

    metrics_file.refuse_without_library()
    owner = owner_of(plan)
    path = metrics_file.place(target, owner.plan)
    metrics_file.refuse_conflict(path, owner)
    sink = MetricsSink(path, plan, owner, mode)
    try:
        yield [sink]
    except PlanrunError as exc:
        _end(sink, "interrupted" if isinstance(exc, Interrupted) else "refused", exc.exit_code)
        raise


def _end(sink: MetricsSink, state: str, exit_code: int) -> None:
    try:
        sink.end(state, exit_code)
    except Exception as exc:  # the error of the run matters more
        show(f"warning: {sink.name} was not written: {one_line(str(exc) or repr(exc))}", sys.stderr)
