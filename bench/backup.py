"""A consistent, counted, checksummed backup of 50 tables beside what a shell script would do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.timing import command, medians, table
from runner.server import embedded, programs

TABLES, ROWS = 50, 10_000

FILL = f"""
do $$ begin
  for i in 1..{TABLES} loop
    execute format('create table t%s (id int primary key, name text, price numeric, at timestamptz, data jsonb)', i);
    execute format('insert into t%s select n, ''name '' || n, n / 7.0, now() - n * interval ''1 min'','
                   ' jsonb_build_object(''n'', n, ''h'', md5(n::text)) from generate_series(1, {ROWS}) n', i);
  end loop;
end $$; analyze;
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as home, embedded.private_server(programs.server_for()) as server:
        env = {**os.environ, "PGHOST": server.words["host"], "PGUSER": "postgres", "PGDATABASE": "postgres"}
        env["PLANRUN_STATE_DIR"] = f"{home}/state"
        tool = server.programs.tool
        subprocess.run([tool("psql"), "-qc", FILL], env=env, check=True, capture_output=True)

        def seed() -> None:
            for n in range(1, TABLES + 1):
                command([tool("pg_dump"), "--inserts", "-t", f"public.t{n}", "-f", f"{home}/seed{n}.sql"], env)()

        def directory() -> None:
            shutil.rmtree(f"{home}/dir", ignore_errors=True)
            command([tool("pg_dump"), "-Fd", "-j2", "-f", f"{home}/dir"], env)()

        works: dict[str, Callable[[], object]] = {
            "pg_dump --inserts, one call a table": seed,
            "pg_dump -Fd -j2": directory,
        }
        for form, compress in (("sql", "false"), ("copy", "false"), ("copy", "zstd"), ("custom", "false")):
            works[f"planrun backup, {form}, compress {compress}"] = command(apply(Path(home), form, compress), env)
        print(f"{TABLES} tables of {ROWS:,} rows")
        print(table(medians(works, rounds=3), "pg_dump --inserts, one call a table"))


def apply(home: Path, form: str, compress: str) -> list[str]:
    """Return the command that applies a backup plan; retention keeps one session, so the disk does not fill."""
    file = home / f"{form}-{compress}.yml"
    words = f"path: ./{file.stem}, prefix: t, format: {form}, compress: {compress}, keep_last: 1, retention_days: 0"
    file.write_text(f"backup: {{{words}}}\n")
    return [sys.executable, "-m", "runner", "apply", str(file), "--yes"]


if __name__ == "__main__":
    main()
