"""Clients that use tables during a swap or backup: pgbench, and its longest transaction."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.place import Place

CLIENTS = 4
MANY_TABLES = """\
\\set at random(0, {last})
\\set id random(1, 10)
begin;
select v from t:at where id = :id;
update t:at set c = 'd' where id = :id;
end;
"""
"""Reads and writes one of the tables of bench/renames.py."""
ACCOUNTS = """\
\\set aid random(1, {rows})
update pgbench_accounts set abalance = abalance + 1 where aid = :aid;
"""
HERE = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'pgbench'"
END = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and application_name = 'pgbench'
"""


class Watch:
    """`longest` is the duration in seconds of the longest transaction after the clients' start-up; `rate` is how
    many ended in a second. Both are known when the clients have ended."""

    longest = 0.0
    rate = 0.0

    def read(self, folder: Path, began: float) -> None:
        """Read pgbench's log; transactions that ended before `began` (seconds since 1970) do not count."""
        lines = [line for file in folder.glob("log.*") for line in file.read_text().splitlines()]
        ended = [_transaction(line) for line in lines if "skipped" not in line and "failed" not in line]
        counted = [one for one in ended if one[0] >= began]
        self.longest = max(took for _, took in counted)
        self.rate = len(counted) / (max(at for at, _ in counted) - began)


@contextlib.contextmanager
def at_work(where: Place, database: str, script: str, lead: float, rate: int = 0) -> Iterator[Watch]:
    """Let clients run a script, at full speed or at a given rate, while the block runs.

    They also run for `lead` seconds before and after it. Raises RuntimeError if a client got an error.
    """
    watch = Watch()
    with tempfile.TemporaryDirectory(dir=where.home) as home:
        folder = Path(home)
        (folder / "script.sql").write_text(script)
        words = ("-n", f"-c{CLIENTS}", "-T3600", "-l", "--log-prefix", f"{home}/log", "-f", f"{home}/script.sql")
        argv = [where.tool("pgbench"), *words, *([f"-R{rate}"] if rate else []), where.url(database)]
        output = (folder / "said").open("w+")
        child = subprocess.Popen(argv, env=where.env(), stdout=subprocess.DEVNULL, stderr=output)
        try:
            time.sleep(lead)
            began = time.time()
            yield watch
            time.sleep(lead)
            _check(where, database, folder / "said")
        finally:
            _end(where, database, child)
            output.close()
        watch.read(folder, began)


def _transaction(line: str) -> tuple[float, float]:
    """Return when a transaction ended, and its duration in seconds.

    pgbench counts from when it was due, and with a rate also reports how much later it began: that is the queue of a
    machine with too much work, not the transaction's own wait.
    """
    _, _, took, _, second, microsecond, *lag = map(int, line.split())
    return second + microsecond / 1e6, (took - sum(lag)) / 1e6


def _check(where: Place, database: str, said: Path) -> None:
    """Raise RuntimeError if a client has ended with an error."""
    with where.connect(database) as conn:
        found = conn.execute(HERE).fetchone()
    if not found or found[0] != CLIENTS:
        raise RuntimeError(f"a client got an error: {said.read_text()[:2000]}")


def _end(where: Place, database: str, child: subprocess.Popen[bytes]) -> None:
    """End the clients' connections: pgbench writes the rest of its log when it ends so, not when it is killed."""
    with where.connect(database) as conn:
        conn.execute(END)
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
