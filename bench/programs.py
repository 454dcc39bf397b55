"""Command lines of the programs that several subjects compare with."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.place import Place
from bench.sample import Sample


def dump(where: Place, database: str, folder: Path, *words: str) -> list[str]:
    """Return the command line of a parallel pg_dump into a folder; what was there is removed."""
    shutil.rmtree(folder, ignore_errors=True)
    return [where.tool("pg_dump"), "-Fd", "-j2", *words, "-f", str(folder), "-d", where.url(database)]


def restore(where: Place, database: str, folder: Path) -> list[str]:
    """Return the command line of a parallel pg_restore."""
    return [where.tool("pg_restore"), "-j2", "-d", where.url(database), str(folder)]


def analyze(where: Place, database: str) -> list[str]:
    """Return the command line that collects the statistics of all tables."""
    return [where.tool("vacuumdb"), "-qZ", "-j2", "-d", where.url(database)]


def copy(where: Place, *words: str, then_analyze: bool = False) -> Sample:
    """Copy database `source` to a fresh `target` by pg_dump, with `words`, and pg_restore."""
    where.fresh("target")
    where.settle()
    folder = where.home / "dump"
    argvs = [dump(where, "source", folder, *words), restore(where, "target", folder)]
    return where.run(*argvs, *([analyze(where, "target")] if then_analyze else []))
