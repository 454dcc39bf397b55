"""The loop for all targets: make an input from a number, pass it to planrun, and check three promises.

planrun raises only its own errors, no input takes a second of processor time, and memory does not grow with the inputs.
An input depends on the seed, the target's name and its number alone, so that each can be made again.
"""

from __future__ import annotations

import gc
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from runner.errors import PlanrunError

SLOW = 1.0
"""Seconds of processor time that one input may take: other work on the machine does not count."""

_GROWTH_MB = 96
_BLOCKS_EACH = 0.5
"""Python objects that may stay for each input, on average: a cache without a limit keeps more."""

_FREE_BLOCKS = 200_000
_SHOWN = 4


@dataclass(frozen=True)
class Target:
    """What is fuzzed. `check` raises AssertionError for a broken promise of its own.

    weight: its share of the inputs. allowed: our errors that are no PlanrunError, as the docstrings name them.
    """

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], object]
    weight: int = 10
    allowed: tuple[type[Exception], ...] = ()


@dataclass
class Told:
    """What a run over a target found. `refused` counts inputs that ended in one of planrun's errors."""

    target: str
    inputs: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        each = f"slowest {self.slowest * 1000:.0f} ms"
        head = f"{self.target}: {self.inputs:,} inputs in {self.seconds:.0f} s, {self.refused:,} refused, {each}"
        return "\n".join([head, *(f"  FAULT {fault}" for fault in self.faults.values())])


def rng_of(target: Target, seed: int, number: int) -> Random:
    return Random(f"{seed}/{target.name}/{number}")


def run(
    target: Target, runs: int, *, seed: int = 0, first: int = 0, at: Callable[[int], None] = lambda number: None
) -> Told:
    """Run a target over this many inputs. `at` is told the number of each input before it is tried."""
    told = Told(target.name)
    began, settled, memory = time.monotonic(), first + max(runs // 5, 1), (0, 0)
    for number in range(first, first + runs):
        at(number)
        if number == settled:
            memory = _memory()
        _one(target, seed, number, told)
    told.seconds = time.monotonic() - began
    if runs >= 1000:
        _check_growth(told, memory, runs - runs // 5)
    return told


def try_one(target: Target, case: Any, number: int = 0) -> Told:
    """Try one input that was made elsewhere."""
    told = Told(target.name)
    _try_case(target, case, number, told)
    return told


def _one(target: Target, seed: int, number: int, told: Told) -> None:
    case = target.make(rng_of(target, seed, number))
    spent = _try_case(target, case, number, told)
    if spent > SLOW:  # repeat: the garbage collector may have run meanwhile
        spent = min(spent, _try_case(target, case, number, Told(target.name)))
    if spent > SLOW:
        told.faults.setdefault("slow", f"#{number} took {spent:.1f} s: {_display(case)}")
    told.slowest = max(told.slowest, spent)


def _try_case(target: Target, case: Any, number: int, told: Told) -> float:
    """Return the processor time that the product took for an input, in seconds."""
    told.inputs += 1
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # on a user's terminal each would be a line of Python
            target.check(case)
    except Exception as exc:
        if isinstance(exc, (PlanrunError, *target.allowed)):
            told.refused += 1
            _check_message(exc, number, told)
            return time.process_time() - began
        told.faults.setdefault(_place(exc), f"#{number} {_place(exc)}: {exc!r:.300}\n    {_display(case)}")
    return time.process_time() - began


def _check_message(exc: Exception, number: int, told: Told) -> None:
    """Check that an error has a message without a Python class in it."""
    text = str(exc)
    if not text.strip() or "Traceback" in text or "object at 0x" in text:
        told.faults.setdefault(f"words {type(exc)}", f"#{number} says nothing to a person: {text!r:.300}")


def _place(exc: Exception) -> str:
    """Return the exception's class and the last lines of the product that it came through: one fault, told once."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if "/runner/" in frame.filename]
    lines = [f"{frame.filename.rpartition('/runner/')[2]}:{frame.lineno}" for frame in frames[-_SHOWN:]]
    return f"{type(exc).__name__} at {' > '.join(dict.fromkeys(lines)) or 'the check itself'}"


def _display(case: Any) -> str:
    text = repr(case)
    return text if len(text) <= 2000 else f"{text[:2000]}... ({len(text):,} characters)"


def _memory() -> tuple[int, int]:
    """Return the largest size so far in MB, and the Python objects alive."""
    gc.collect()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size // (1024**2 if sys.platform == "darwin" else 1024), sys.getallocatedblocks()


def _check_growth(told: Told, before: tuple[int, int], inputs: int) -> None:
    after = _memory()
    grown, blocks = after[0] - before[0], after[1] - before[1]
    if grown > _GROWTH_MB or blocks > _FREE_BLOCKS + inputs * _BLOCKS_EACH:
        told.faults["memory"] = f"{grown} MB and {blocks:,} objects more after {inputs:,} inputs"
