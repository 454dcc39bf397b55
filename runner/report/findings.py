"""Problems of plans in the form for the tools of a pull request: one text, and a path from the working directory.
Pure."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Mark, Problem
from runner.words import safe, typeable

Found = Mapping[str, Sequence[Problem]]
"""The problems of each plan, by the plan's file as it was typed."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem and where it is; lines and columns count from 1.

    file: from the working directory, with forward slashes, "" if it is in no file. message: with its hint, and
    without control characters other than line breaks and tabs. rule: the code of the problem, such as PR0110.
    level: ERROR or WARNING.
    """

    file: str
    line: int
    column: int
    message: str
    rule: str
    level: str

    def fingerprint(self, number: int) -> str:
        """Return a value that stays the same when lines move. number: counts findings of the same file, rule and
        message."""
        text = json.dumps([self.rule, self.file, self.message, number])
        return hashlib.sha256(text.encode()).hexdigest()


ERROR, WARNING = "error", "warning"
"""A problem of a plan, which then cannot run, and a finding of lint."""


def findings(found: Found, folder: Path, level: str = ERROR) -> tuple[Finding, ...]:
    """Return the problems of all plans; one in a template that several plans use appears once.

    folder: the working directory.
    """
    every = (_finding(problem, plan, folder, level) for plan, some in found.items() for problem in some)
    return tuple(dict.fromkeys(every))


def _finding(problem: Problem, plan: str, folder: Path, level: str) -> Finding:
    where, message = problem.where, problem.message
    if not is_on_disk(where.file):
        message, where = f"{where.file}: {message}", Mark(plan, 1, 1)
    hint = f"\nhint: {typeable(problem.hint, plan)}" if problem.hint else ""
    return Finding(
        file=path_from(where.file, folder),
        line=where.line,
        column=where.column,
        message=safe(message + hint),
        rule=problem.code,
        level=level,
    )


def is_on_disk(file: str) -> bool:
    """Return whether a mark is in a file of the user: not in a `--set` option or a template that comes with planrun."""
    return not file.startswith(("--", "planrun:"))


def path_from(file: str, folder: Path) -> str:
    """Return the path of a file from a folder, with forward slashes; "" for none."""
    return Path(os.path.relpath(folder / file, folder)).as_posix() if file else ""


def with_fingerprints(every: Iterable[Finding]) -> Iterator[tuple[Finding, str]]:
    """Yield each finding with a fingerprint that no other one has."""
    seen: Counter[tuple[str, str, str]] = Counter()
    for one in every:
        key = (one.rule, one.file, one.message)
        yield one, one.fingerprint(seen[key])
        seen[key] += 1
