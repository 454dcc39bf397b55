"""A subject: what is measured, on how much data, and the run that makes its result."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bench import machine, results
from bench.place import Place
from bench.results import Result
from bench.sample import Group, measure

S = TypeVar("S")
"""A frozen dataclass of numbers, or of tuples of numbers: how much data a subject makes."""


@dataclass(frozen=True)
class Subject(Generic[S]):
    """`about` is what `--help` says. `groups` makes the data of each group before it gives it."""

    name: str
    about: str
    full: S
    quick: S
    groups: Callable[[Place, S], Iterator[Group]]

    def size(self, quick: bool, **given: Any) -> S:
        """Return the size to measure at: the full one or the quick one, with what was given in its place."""
        size: Any = self.quick if quick else self.full
        made: S = dataclasses.replace(size, **{name: value for name, value in given.items() if value is not None})
        return made

    def numbers(self) -> dict[str, Any]:
        """Return the names of what can be given, with the values of the full size."""
        full: Any = self.full
        return dataclasses.asdict(full)


def measure_subject(subject: Subject[S], where: Place, size: S, pairs: int, note: str = "") -> Result:
    """Measure all groups of a subject and print each as soon as it is there."""
    here = machine.describe(where.server.programs.version)
    print(f"{subject.name}: {here}, load average {here.load:.2f}", file=sys.stderr)
    found = []
    for group in subject.groups(where, size):
        found.append(results.summary(group, measure(group, pairs)))
        print("\n".join(results.lines(found[-1])), flush=True)
    numbers: Any = size
    return Result(
        subject=subject.name,
        date=results.today(),
        machine=here,
        note=note,
        pairs=pairs,
        size=dataclasses.asdict(numbers),
        groups=tuple(found),
    )
