"""What happens to time and memory when there is ten times as much: steps, tables, lines of a journal.

The peer of each is planrun itself with the smaller one; a ratio near that of the sizes, or below it, is linear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import plans
from bench.data import tiny_tables
from bench.place import Place
from bench.sample import Group, Sample, Way
from bench.subject import Subject

READS = """\
name: reads
steps:
  - {id: one, uses: query, with: {text: "select 1 as n"}}
  - {id: two, when: one.ok, uses: query, with: {text: "select 2 as n"}}
"""


@dataclass(frozen=True)
class Size:
    """The numbers of each, from the least, which is the peer of the others."""

    steps: tuple[int, ...] = (1_000, 10_000)
    tables: tuple[int, ...] = (500, 5_000)
    lines: tuple[int, ...] = (10_000, 100_000)


def groups(where: Place, size: Size) -> Iterator[Group]:
    files = {n: str(plans.write(where.home / f"{n}.yml", plans.steps(n))) for n in size.steps}
    for verb in ("validate", "render"):
        yield _group(verb, "steps", size.steps, partial(_read, where, verb, files))
    plan = str(plans.write(where.home / "refresh.yml", plans.refresh()))
    for count in size.tables:
        for side in ("source", "target"):
            tiny_tables(where.fresh(f"{side}{count}"), count)
    yield _group("diff", "tables", size.tables, partial(_diff, where, plan))
    reads = str(plans.write(where.home / "reads.yml", READS))
    written = _journal(where, reads)
    env = {lines: _long_journal(where, written, lines) for lines in size.lines}
    yield _group("status", "lines of a journal", size.lines, lambda n: where.planrun("status", reads, env=env[n]))


def _group(verb: str, what: str, counts: Sequence[int], run: Callable[[int], Sample]) -> Group:
    names = {count: f"planrun {verb}, {count:,} {what}" for count in counts}
    small = names[counts[0]]
    ways = [Way(name, partial(run, n), () if name == small else (small,)) for n, name in names.items()]
    return Group(verb, f"{counts[-1] / counts[0]:g} times as many {what}", ways)


def _read(where: Place, verb: str, files: Mapping[int, str], count: int) -> Sample:
    return where.planrun(verb, files[count])


def _diff(where: Place, plan: str, count: int) -> Sample:
    urls = {"PLANRUN_SOURCE_URL": where.url(f"source{count}"), "PLANRUN_TARGET_URL": where.url(f"target{count}")}
    return where.planrun("diff", plan, env=where.env(**urls))


def _journal(where: Place, plan: str) -> Path:
    """Return the journal of one run of a plan that only reads."""
    where.planrun("apply", plan, "--yes", env=where.env(DATABASE_URL=where.url("postgres")))
    return next(Path(where.state).glob("*.jsonl"))


def _long_journal(where: Place, written: Path, lines: int) -> dict[str, str]:
    """Write a journal of so many lines, earlier runs that are like the last one. Return the environment to find it."""
    last = written.read_text().splitlines()
    run = json.loads(last[0])["run"]
    many = [line.replace(run, f"20250101T000000Z-{n}") for n in range(lines // len(last)) for line in last]
    folder = where.home / f"journal{lines}"
    folder.mkdir()
    (folder / written.name).write_text("\n".join([*many[: lines - len(last)], *last]) + "\n")
    return where.env(DATABASE_URL=where.url("postgres"), PLANRUN_STATE_DIR=str(folder))


SUBJECT = Subject("scale", __doc__, Size(), Size(steps=(2, 4), tables=(2, 4), lines=(20, 40)), groups)
