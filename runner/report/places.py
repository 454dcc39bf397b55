"""Find where a step is in the files that a reviewer sees. Pure."""

from __future__ import annotations

from runner.errors import Mark
from runner.report.findings import is_on_disk
from runner.result import RunResult


def place_of(result: RunResult, path: str) -> Mark:
    """Return the place of a step; a step of a template that comes with planrun is where the template is used."""
    around = [one for one in result.steps if path == one.path or path.startswith((f"{one.path}.", f"{one.path}["))]
    places = [(len(one.path), one.planned.step.where) for one in around]
    seen = [each for each in places if is_on_disk(each[1].file)]
    return max(seen)[1] if seen else Mark(result.file, 1, 1)
