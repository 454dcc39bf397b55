"""The change of each ratio against the results of the last commit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.results import FOLDER, Ratio, Result

ROOT = Path(__file__).parents[1]


def committed_results(checkout: Path = ROOT) -> dict[str, Result]:
    """Return the results in HEAD by subject. A folder without git has none."""
    folder = FOLDER.relative_to(ROOT).as_posix()
    named = _git(checkout, "ls-tree", "--name-only", "HEAD", f"{folder}/").split()
    found = (Result.from_json(_git(checkout, "show", f"HEAD:{name}")) for name in named if name.endswith(".json"))
    return {result.subject: result for result in found}


def report(now: Mapping[str, Result], before: Mapping[str, Result]) -> str:
    """Return a line for each ratio that is measured now: before, now, and the change in percent.

    A median outside of what the kept rounds spread over is marked `slower` or `faster`: less is noise.
    """
    lines: list[str] = []
    for subject, result in now.items():
        lines.append(subject)
        lines += [f"  {line}" for line in _subject(result, before.get(subject))]
    return "\n".join(lines) or "no results: make bench"


def _subject(now: Result, before: Result | None) -> Iterator[str]:
    if before is None:
        yield "no result in the last commit"
        return
    if now == before:
        yield "not measured since the last commit"
        return
    if now.size != before.size:
        yield f"the sizes differ, so the ratios do not compare: {before.size} then, {now.size} now"
        return
    if (now.machine.cores, now.machine.memory_gb) != (before.machine.cores, before.machine.memory_gb):
        yield f"another machine: {before.machine} then, {now.machine} now"
    old = _ratios(before)
    for key, ratio in _ratios(now).items():
        yield _line(ratio, old.get(key), key[0])


def _line(now: Ratio, before: Ratio | None, group: str) -> str:
    name = f"{now.of}  :  {now.to}  ({group})"
    if before is None:
        return f"     new -> {now.median:7.2f}x          {name}"
    change = 100 * (now.median / before.median - 1)
    mark = "slower" if now.median > before.greatest else "faster" if now.median < before.least else ""
    return f"{before.median:7.2f}x -> {now.median:7.2f}x  {change:+6.1f} % {mark:6}  {name}"


def _ratios(result: Result) -> dict[tuple[str, str, str], Ratio]:
    return {(group.key, ratio.of, ratio.to): ratio for group in result.groups for ratio in group.ratios}


def _git(checkout: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(checkout), *words], check=False, capture_output=True, text=True).stdout
