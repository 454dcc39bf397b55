"""Which plans are near the folder where planrun was started, for the hint of a command that found none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from runner.words import close_matches

_PATTERNS = ("*.yml", "*.yaml", "plans/*.yml", "plans/*.yaml")
_PLAN = re.compile(r"^(steps|backup|extends)\s*:", re.MULTILINE)
_MOST = 200
"""Files that are looked at."""

_HEAD = 1 << 16
"""Bytes of a file in which the first key of a plan is looked for."""

_SHOWN = 4


def plan_hint(file: str) -> str:
    """Return what to type in place of a plan that cannot be read: one with a similar name, or in another folder."""
    path = Path(file)
    if path.is_dir():
        return _listing(_plans(path)) or f"there is no plan in {file}; planrun init writes one"
    here = _plans(Path())
    same = [one for one in here if Path(one).name == path.name]
    names = {Path(one).name: one for one in here}
    close = same or [names[one] for one in close_matches(path.name, names)]
    if close:
        return f"did you mean {shlex.quote(close[0])}?"
    above = _above(path)
    return f"from this folder it is {shlex.quote(above)}" if above else plans_here(here)


def plans_here(found: list[str] | None = None) -> str:
    """Return which plans there are, or that there is none."""
    return _listing(_plans(Path()) if found is None else found) or "planrun init writes a first plan"


def _listing(plans: list[str]) -> str:
    if not plans:
        return ""
    more = f" and {len(plans) - _SHOWN} more" if len(plans) > _SHOWN else ""
    return f"plans here: {', '.join(map(shlex.quote, plans[:_SHOWN]))}{more}"


def _above(path: Path) -> str:
    """Return the way to this relative path from one of the next three folders above; "" if none has it."""
    if path.is_absolute():
        return ""
    ways = (Path(*[".."] * steps, path) for steps in (1, 2, 3))
    return next((str(way) for way in ways if way.is_file()), "")


def _plans(folder: Path) -> list[str]:
    found = (file for pattern in _PATTERNS for file in sorted(folder.glob(pattern)))
    return [str(file) for file in _regular(islice(found, _MOST)) if _is_plan(file)]


def _regular(files: Iterator[Path]) -> Iterator[Path]:
    """Yield the plain files: reading a pipe could wait for ever."""
    yield from (file for file in files if file.is_file())


def _is_plan(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return bool(_PLAN.search(stream.read(_HEAD)))
    except OSError:
        return False
