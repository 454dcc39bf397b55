"""A consistent, counted, checksummed backup of many tables beside what a shell script would do."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.timing import command, medians, table
from runner.server import embedded, programs

PEER = "pg_dump --inserts, one call a table"

FILL = """
do $$ begin
  for i in 1..{tables} loop
    execute format('create table t%s (id int primary key, name text, price numeric, at timestamptz, data jsonb)', i);
    execute format('insert into t%s select n, ''name '' || n, n / 7.0, now() - n * interval ''1 min'','
                   ' jsonb_build_object(''n'', n, ''h'', md5(n::text)) from generate_series(1, {rows}) n', i);
  end loop;
end $$;
"""
EXTRA = """
do $$ begin
  for i in {first}..{last} loop
    execute format('create table extra%s (id int primary key, name text, price numeric, at timestamptz)', i);
  end loop;
end $$;
"""
TOGETHER = 500
"""Tables made in one transaction: the server's lock table has room for 6400 objects."""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as home, embedded.private_server(programs.server_for()) as server:
        env = {**os.environ, "PGHOST": server.words["host"], "PGUSER": "postgres", "PGDATABASE": "postgres"}
        env["PLANRUN_STATE_DIR"] = f"{home}/state"
        env["PLANRUN_PG_BIN"] = str(server.programs.bin)
        tool = server.programs.tool
        texts = [FILL.format(tables=options.tables, rows=options.rows)]
        for first in range(1, options.extra_tables + 1, TOGETHER):
            texts.append(EXTRA.format(first=first, last=min(first + TOGETHER - 1, options.extra_tables)))
        for text in [*texts, "vacuum analyze", "checkpoint"]:
            subprocess.run([tool("psql"), "-qc", text], env=env, check=True, capture_output=True)

        def seed() -> None:
            for n in range(1, options.tables + 1):
                command([tool("pg_dump"), "--inserts", "-t", f"public.t{n}", "-f", f"{home}/seed{n}.sql"], env)()

        def directory() -> None:
            shutil.rmtree(f"{home}/dir", ignore_errors=True)
            command([tool("pg_dump"), "-Fd", "-j2", "-t", "public.t*", "-f", f"{home}/dir"], env)()

        works: dict[str, Callable[[], object]] = {PEER: seed, "pg_dump -Fd -j2": directory}
        for each in options.formats.split(","):
            form, _, compress = each.partition(":")
            name = f"planrun backup, {form}, compress {compress or 'false'}"
            works[name] = command(apply(Path(home), form, compress or "false"), env)
        extra = f", {options.extra_tables:,} more in the catalog" if options.extra_tables else ""
        print(f"{options.tables} tables of {options.rows:,} rows{extra}; medians of {options.rounds} rounds")
        print(table(medians(works, options.rounds), PEER))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=50)
    parser.add_argument("--rows", type=int, default=10_000, help="of each table")
    parser.add_argument("--extra-tables", type=int, default=0, help="empty ones, which are not backed up")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", default="sql,copy,copy:zstd,custom", help="format:compress, with commas between")
    return parser.parse_args()


def apply(home: Path, form: str, compress: str) -> list[str]:
    """Return the command that applies a backup plan; retention keeps one session, so the disk does not fill."""
    file = home / f"{form}-{compress}.yml"
    words = f"path: ./{file.stem}, prefix: t, format: {form}, compress: {compress}, keep_last: 1, retention_days: 0"
    file.write_text(f"backup: {{{words}}}\n")
    return [sys.executable, "-m", "runner", "apply", str(file), "--yes"]


if __name__ == "__main__":
    main()
