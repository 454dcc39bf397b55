"""A backup of 50 tables, as INSERT files, as COPY files and as archives, beside pg_dump.

Each planrun backup is from one snapshot, counted and checksummed; one pg_dump per table, as scripts do it, is not.
The second group has the same tables in a database of many more, where each call of pg_dump reads the whole catalog;
one pg_dump per table is there for INSERT only, as the calls take as long in each format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench import plans
from bench.data import empty_tables, fill_tables
from bench.place import Place
from bench.programs import dump
from bench.sample import Group, Sample, Way
from bench.subject import Subject

DIRECTORY = "pg_dump -Fd -j2"
Forms = tuple[tuple[str, tuple[str, ...]], ...]
FORMS: Forms = (("insert", ("--inserts",)), ("copy", ()), ("custom", ("-Fc",)))
"""What planrun calls a format, and the words for pg_dump."""


@dataclass(frozen=True)
class Size:
    tables: int = 50
    rows: int = 10_000
    others: int = 2_000


def groups(where: Place, size: Size) -> Iterator[Group]:
    url = where.fresh("backup")
    fill_tables(url, size.tables, size.rows)
    title = f"{size.tables} tables of {size.rows:,} rows"
    yield Group("alone", title, list(_ways(where, size, FORMS)))
    empty_tables(url, size.others)
    yield Group("crowd", f"{title}, in a database of {size.others:,} more", list(_ways(where, size, FORMS[:1])))


def _ways(where: Place, size: Size, by_table: Forms) -> Iterator[Way]:
    """Yield every format of planrun beside one pg_dump -Fd, and those of `by_table` beside one pg_dump per table."""
    yield Way(DIRECTORY, partial(_directory, where))
    for form, words in FORMS:
        peers = [DIRECTORY]
        if (form, words) in by_table:
            peers.insert(0, " ".join(("pg_dump", *words, "for each table")))
            yield Way(peers[0], partial(_each, where, size.tables, words))
        plan = plans.write(where.home / f"{form}.yml", plans.backup(form, form))
        run = partial(where.planrun, "apply", str(plan), "--yes", env=where.env(DATABASE_URL=where.url("backup")))
        shown = len(peers) - (form != "custom")  # only that is an archive, as pg_dump's directory is
        yield Way(f"planrun backup, format {form}", run, tuple(peers), headlines=shown)


def _each(where: Place, tables: int, words: tuple[str, ...]) -> Sample:
    calls = [
        [where.tool("pg_dump"), *words, "-t", f"public.t{n}", "-f", f"{where.home}/t{n}", "-d", where.url("backup")]
        for n in range(tables)
    ]
    return where.run(*calls)


def _directory(where: Place) -> Sample:
    return where.run(dump(where, "backup", where.home / "directory"))


SUBJECT = Subject("backup", __doc__, Size(), Size(tables=2, rows=10, others=10), groups)
