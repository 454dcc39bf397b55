"""backup-summary.txt of a session: a summary for people, with the commands that restore the data."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from runner import resources
from runner.backup import attachments
from runner.backup.manifest import Manifest, Table
from runner.safesql.templates import Templates

_UNPACK = {".gz": "gunzip -c", ".zst": "zstd -dc"}
_PSQL = "psql -X -d DATABASE"


def page(manifest: Manifest, first: Sequence[str] = (), last: Sequence[str] = ()) -> str:
    """Return the text; `first` and `last` name SQL files that must run before and after those of the tables."""
    values = asdict(manifest) | {
        "started": _second(manifest.started),
        "finished": _second(manifest.finished),
        "size": _size(manifest.bytes),
        "packed": f", {manifest.compress}" if manifest.compress else "",
        "by_hand": [f"{_PSQL} -f {shlex.quote(file)}" for file in first]
        + [by_hand(file, manifest.format) for file in in_order(manifest.tables)]
        + [f"{_PSQL} -f {shlex.quote(file)}" for file in last],
        "attached": [attachments.display_name(one) for one in manifest.attachments],
    }
    return Templates((resources.SQL,)).text("pg_dump/backup-summary.txt.j2", **values)


def _second(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def _size(count: int) -> str:
    """Return bytes as people read them.

    >>> _size(9999), _size(10_000), _size(50_000_000)
    ('9999 bytes', '10 kB', '48 MB')
    """
    if count < 10_000:
        return f"{count} bytes"
    return f"{count / 1024:.0f} kB" if count < 10_000_000 else f"{count / (1 << 20):.0f} MB"


def in_order(tables: Sequence[Table]) -> list[str]:
    """Return the files so that a table comes after those it refers to; tables that refer to each other keep their
    order."""
    files = {table.full_name: table.file for table in tables}
    before: dict[str, set[str]] = {table.file: set() for table in tables}
    for table in tables:
        before[table.file] |= {files[other] for other in table.references if other in files} - {table.file}
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError:
        return list(before)


def ddl_name(file: str) -> str:
    """Return the name of the DDL file beside a csv file.

    >>> ddl_name("users.csv.gz")
    'users.schema.sql'
    """
    return file.removesuffix(".gz").removesuffix(".zst").removesuffix(".csv") + ".schema.sql"


def by_hand(file: str, form: str) -> str:
    """Return the command line that restores a file without planrun."""
    quoted = shlex.quote(file)
    if form in ("custom", "directory"):
        return f"pg_restore -d DATABASE {quoted}"
    unpack = _UNPACK.get(Path(file).suffix, "")
    if form == "csv":
        rows = f"{unpack or 'cat'} {quoted} | {_PSQL} -c '\\copy TABLE from stdin (format csv, header)'"
        return f"{_PSQL} -f {shlex.quote(ddl_name(file))} && {rows}"
    return f"{unpack} {quoted} | {_PSQL}" if unpack else f"{_PSQL} -f {quoted}"
