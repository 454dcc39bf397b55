"""Clients at work on tables while something happens to these: pgbench where it is, else threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from runner.server.programs import Programs

SCRIPT = """\
\\set at random(0, {last})
\\set id random(1, 10)
begin;
select v from t:at where id = :id;
update t:at set c = 'd' where id = :id;
end;
"""
LEAD = 1.0
"""Seconds that the clients work before."""
LASTS = 8


def pgbench(programs: Programs, url: str, scale: int) -> None:
    """Fill a database with pgbench's tables, with their foreign keys."""
    argv = [programs.tool("pgbench"), "-iqs", str(scale), "--foreign-keys", url]
    subprocess.run(argv, env={**os.environ, **programs.env}, check=True, capture_output=True)


@contextlib.contextmanager
def at_work(programs: Programs, url: str) -> Iterator[None]:
    """Let 4 clients update pgbench_accounts. Raises when one of them got an error."""
    argv = [programs.tool("pgbench"), "-n", "-c4", "-T3600", "-b", "simple-update", url]
    done = subprocess.Popen(
        argv, env={**os.environ, **programs.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(LEAD)
    yield
    if done.poll() is not None:
        raise RuntimeError("a client got an error")
    done.terminate()
    done.wait()


def longest(programs: Programs, home: Path, url: str, count: int, work: Callable[[], object]) -> float:
    """Return the seconds of the longest transaction of 4 clients, round the work. Raises when one got an error."""
    if Path(programs.tool("pgbench")).exists():
        return _by_pgbench(programs, home, url, count, work)
    return _by_threads(url, count, work)


def _by_pgbench(programs: Programs, home: Path, url: str, count: int, work: Callable[[], object]) -> float:
    for old in home.glob("stall.*"):
        old.unlink()
    script = home / "clients.sql"
    script.write_text(SCRIPT.format(last=count - 1))
    argv = [
        programs.tool("pgbench"),
        "-n",
        "-c4",
        f"-T{LASTS}",
        "-l",
        "--log-prefix",
        f"{home}/stall",
        "-f",
        f"{script}",
    ]
    env = {**os.environ, **programs.env}
    with subprocess.Popen([*argv, url], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        time.sleep(LEAD)
        work()
        late = child.poll() is not None
        said = child.stderr.read().decode() if child.stderr else ""  # ended, it has written all of its log
    if late or "ERROR" in said or "aborted" in said:
        raise RuntimeError(said if not late else f"it took more than the {LASTS} s of the clients")
    lines = [line.split() for file in home.glob("stall.*") for line in file.read_text().splitlines()]
    return max(int(line[2]) for line in lines if len(line) >= 6) / 1e6


def _by_threads(url: str, count: int, work: Callable[[], object]) -> float:
    end, worst = threading.Event(), [0.0]

    def client(number: int) -> None:
        with psycopg.connect(url) as conn:
            at = number
            while not end.is_set():
                at = (at * 7 + 1) % count
                began = time.perf_counter()
                conn.execute(f"select v from t{at} where id = 1; update t{at} set c = 'd' where id = 1; commit")
                worst.append(time.perf_counter() - began)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(LEAD)
    work()
    time.sleep(LEAD)
    end.set()
    for thread in threads:
        thread.join()
    return max(worst)
