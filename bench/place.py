"""A throw-away PostgreSQL server, a folder beside it, and the resources that programs use with it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.sample import Sample, stopwatch
from runner.server import embedded, programs

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "max_locks_per_transaction": "512",  # 14,000 locks of the renames of 1,000 tables
}
"""Durable, like a server in production; without autovacuum, which would run at random moments."""
LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class Place:
    """A server and a folder. Files of planrun's own state are in the folder, too."""

    server: embedded.Server
    home: Path

    def tool(self, program: str) -> str:
        return self.server.programs.tool(program)

    def url(self, name: str, host: str = "") -> str:
        """Return the conninfo of a database, the form that programs take; `host` if a proxy stands before it."""
        words = {**self.server.words, "dbname": name, **({"host": host} if host else {})}
        return psycopg.conninfo.make_conninfo(**words)

    def connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url(name), autocommit=True)

    def fresh(self, name: str, template: str = "template0") -> str:
        """Create a database, empty or as a copy of another one, in place of an existing one. Return its conninfo."""
        with self.connect("postgres") as conn:
            conn.execute(f"drop database if exists {name} with (force)")
            conn.execute(f"create database {name} template {template}")
        return self.url(name)

    def settle(self) -> None:
        """Flush all writes to disk, so that the next measurement does not include them."""
        with self.connect("postgres") as conn:
            conn.execute("checkpoint")
        os.sync()

    def env(self, **words: str) -> dict[str, str]:
        """Return an environment in which planrun and its peers find the same programs of PostgreSQL."""
        bin_ = self.server.programs.bin
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PLANRUN_"))}
        mine = {"PATH": f"{bin_}:{os.environ['PATH']}", "PLANRUN_PG_BIN": str(bin_), "PLANRUN_STATE_DIR": self.state}
        return {**kept, **self.server.programs.env, **mine, **words}

    @property
    def state(self) -> str:
        return str(self.home / "state")

    # -------------------------------------------------------------- what is measured

    def run(self, *argvs: Sequence[str], env: Mapping[str, str] | None = None) -> Sample:
        """Run programs one after the other. Raises RuntimeError with their output if one fails."""
        return self.hear(*argvs, env=env)[0]

    def hear(self, *argvs: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[Sample, str]:
        """Run programs; return the resources that they used and their stdout."""
        before = self.server_cpu()
        reading, writing = os.pipe()
        with os.fdopen(reading) as answer:
            done = subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(writing), json.dumps(argvs)],
                env=env or self.env(),
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
            os.close(writing)
            told = answer.read()
        if done.returncode:
            raise RuntimeError(f"{argvs[-1][0]} failed: {done.stderr[-3000:]}")
        used = json.loads(told)
        return Sample(used["seconds"], used["cpu"], _less(self.server_cpu(), before), int(used["peak"])), done.stdout

    def time(self, work: Callable[[], object]) -> Sample:
        """Measure work of this process itself, without its memory, which would mean nothing."""
        before, cpu = self.server_cpu(), time.process_time()
        took = stopwatch(work)
        return Sample(took, time.process_time() - cpu, _less(self.server_cpu(), before))

    def server_cpu(self) -> float | None:
        """Return the CPU seconds of all processes of the server, None without /proc."""
        proc = Path(f"/proc/{self.server.pid}")
        if not proc.is_dir():
            return None
        ended = _ticks(proc, 11, 15)  # and its own
        living = (proc / f"task/{self.server.pid}/children").read_text().split()
        return (ended + sum(_ticks(Path(f"/proc/{pid}"), 11, 13) for pid in living)) / os.sysconf("SC_CLK_TCK")

    # -------------------------------------------------------------- planrun

    def planrun(self, *words: str, env: Mapping[str, str] | None = None) -> Sample:
        return self.run(self.command(*words), env=env)

    @staticmethod
    def command(*words: str) -> list[str]:
        """Return the command line of planrun."""
        return [sys.executable, "-m", "runner", *words]

    def apply(self, plan: str, *words: str, env: Mapping[str, str] | None = None) -> tuple[Sample, dict[str, Any]]:
        """Apply a plan; return the resources that it used, and by path the steps that acted."""
        file = self.home / "plan.yml"
        file.write_text(plan)
        argv = self.command("apply", str(file), "--yes", "-o", "json", *words)
        sample, said = self.hear(argv, env=env or self.refresh_env())
        return sample, {step["path"]: step for step in json.loads(said)["steps"]}

    def refresh_env(self, **words: str) -> dict[str, str]:
        """Return the environment of a plan that replaces tables: databases `source` and `target`."""
        urls = {"PLANRUN_SOURCE_URL": self.url("source"), "PLANRUN_TARGET_URL": self.url("target")}
        return self.env(**{**urls, **words})


@contextlib.contextmanager
def place(major: int) -> Iterator[Place]:
    """Run a server of a major version if its programs are here, else of another one. Raises TargetError."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        found = [one for one in programs.find_installed() if one.major == major and not one.no_server]
        these = found[0] if found else programs.server_for()
        with embedded.private_server(these, base=Path(tempfile.gettempdir()), settings=SETTINGS) as server:
            yield Place(server, Path(home))


def instead(sample: Sample, seconds: float) -> Sample:
    """Return a sample with another duration, of a part of the work; CPU and memory stay those of the whole."""
    return dataclasses.replace(sample, seconds=seconds, whole=False)


def _ticks(proc: Path, first: int, last: int) -> int:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        return sum(map(int, (proc / "stat").read_text().rsplit(")", 1)[1].split()[first:last]))
    return 0


def _less(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before
