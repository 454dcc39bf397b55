"""How long a user waits for `--help`, `validate` and `diff`, beside an interpreter that does nothing.

First the seconds that pass, then CPU seconds, which other work on the machine disturbs less.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.timing import command, cpu_seconds, measured, seconds, table
from runner.server import embedded, programs


def plan(steps: int) -> str:
    """Return a plan of so many steps: queries, SQL and guards, as a long plan has them."""
    lines = [f"name: steps_{steps}", "steps:"]
    for n in range(steps):
        guard = f", when: s{n - 1}.ok" if n % 3 else ""
        kind = "query" if n % 2 else "sql"
        lines.append(f'  - {{id: s{n}{guard}, uses: {kind}, with: {{text: "select {n} as n"}}}}')
    return "\n".join(lines) + "\n"


def main() -> None:
    python = [sys.executable]
    run = [*python, "-m", "runner"]
    with tempfile.TemporaryDirectory() as home, embedded.private_server(programs.server_for()) as server:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode beside it
        env = {**os.environ, "PGHOST": server.words["host"], "PGUSER": "postgres", "PGDATABASE": "postgres"}
        files = {steps: Path(home) / f"{steps}.yml" for steps in (10, 3000)}
        for steps, file in files.items():
            file.write_text(plan(steps))
        works = {
            "python -c pass": command([*python, "-c", "pass"]),
            "planrun --help": command([*run, "--help"]),
            **{f"validate, {n} steps": command([*run, "validate", str(f)]) for n, f in files.items()},
            **{f"diff, {n} steps": command([*run, "diff", str(f)], env) for n, f in files.items()},
        }
        for measure in (seconds, cpu_seconds):
            found = measured({name: partial(measure, work) for name, work in works.items()}, rounds=5)
            print(f"{measure.__name__}\n{table(found, 'python -c pass')}")


if __name__ == "__main__":
    main()
