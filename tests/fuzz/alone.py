"""Run a target in a process of its own: a crash or a hang is reported with the number of the input."""

from __future__ import annotations

import faulthandler
import multiprocessing
from typing import Any

from tests.fuzz import running, targets
from tests.fuzz.running import Target, Told

_HANGS = 120
"""Seconds after which an input counts as never ending."""


def run(target: Target, runs: int, seed: int, first: int) -> Told:
    """Run a target in a process of its own; what kills it is a fault as well."""
    context = multiprocessing.get_context("spawn")
    at, (ours, theirs) = context.Value("q", first), context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(target.name, runs, seed, first, at, theirs))
    process.start()
    theirs.close()
    try:
        told: Told = ours.recv()
    except EOFError:
        process.join()
        told = Told(target.name, inputs=at.value - first + 1)
        told.faults["dead"] = f"#{at.value} ended the process with {process.exitcode}"
    process.join()
    return told


def _child(name: str, runs: int, seed: int, first: int, at: Any, answer: Any) -> None:
    def emit(number: int) -> None:
        at.value = number
        if number % 100 == 0:
            faulthandler.dump_traceback_later(_HANGS, exit=True)

    target = next(one for one in targets.ALL if one.name == name)
    answer.send(running.run(target, runs, seed=seed, first=first, at=emit))
