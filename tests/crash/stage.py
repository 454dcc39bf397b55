"""The environment of a sweep: one server, one folder, two proxies, and databases that are reset for every point."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests import servers
from tests.commandline import wait_for
from tests.crash.fork_server import Ended, ForkServer, Running
from tests.crash.wire import Wire
from tests.servers import Server

LIVE, SOURCE = "live", "staging"
SLOW = {
    "autovacuum": "on", "autovacuum_vacuum_insert_threshold": "-1", "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_analyze_threshold": "1000000", "autovacuum_vacuum_cost_delay": "100",
    "autovacuum_vacuum_cost_limit": "1",
}  # fmt: skip
"""Settings for a slow autovacuum."""
QUIET = {"autovacuum_naptime": "2000000", "autovacuum_vacuum_threshold": "2000000000"}
"""Settings without autovacuum, until a kind of failure needs it."""
OURS = """
    select pid from pg_stat_activity
    where datname in (%s, %s) and application_name ~ '^(planrun|pg_dump|pg_restore|psql)' and pid <> pg_backend_pid()
    union all
    select pid from pg_locks where locktype = 'advisory'
"""
"""The sessions and advisory locks of planrun."""


_LEASH = r"^/bin/sh -c \s*trap '' TERM|^sleep 0\.1 $"


class Stage:
    """Created once for each worker. Names and paths are the same for every point, because the journal and sessions
    contain them.

    target, source: the wires that planrun's connections go through.
    """

    def __init__(self, server: Server, folder: Path, fork_server: ForkServer) -> None:
        self.server, self.fork_server, self.top = server, fork_server, folder
        self.folder, self.logs, self.tmp = folder / "house", folder / "logs", folder / "tmp"
        self.ready = folder / "ready"
        path = f"{server.words['host']}/.s.PGSQL.{server.words['port']}"
        self.target, self.source = Wire(path, self._terminate), Wire(path, self._terminate)
        self._dead = 0
        for each in (self.logs, self.tmp):
            each.mkdir()

    # -------------------------------------------------------------- what a plan begins with

    def set_up(self, plan: str) -> None:
        """An empty folder with the plan in it, and two empty databases."""
        self.rest()
        for name in (LIVE, SOURCE, "ready"):
            self.server.drop(name)
        for name in (LIVE, SOURCE):
            self.server.create(name)
        for each in (self.folder, self.ready):
            shutil.rmtree(each, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / "plan.yml").write_text(plan)

    def keep(self) -> None:
        """Save the current state as the initial state of every point."""
        self.rest()
        self._sql("create database ready template live" + self._how())
        shutil.copytree(self.folder, self.ready, symlinks=True)

    def renew(self) -> None:
        """Put folder and target back as they were kept; the source is never changed."""
        self.rest()
        self._dead += 1
        self._sql(f"alter database live rename to dead_{self._dead}")
        self._sql("create database live template ready" + self._how())
        if self._dead % 8 == 0:
            self.bury()
        for each in (self.folder, self.logs, self.tmp):
            shutil.rmtree(each, ignore_errors=True)
        shutil.copytree(self.ready, self.folder, symlinks=True)
        self.logs.mkdir()
        self.tmp.mkdir()

    def bury(self) -> None:
        """Drop the databases of earlier points: a few at once, as a drop waits for a checkpoint."""
        with self.server.admin() as conn:
            for (name,) in conn.execute("select datname from pg_database where datname ~ '^dead_'").fetchall():
                conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def _how(self) -> str:
        return " strategy file_copy" if self.server.major >= 15 else ""

    def _sql(self, text: str) -> None:
        with self.server.admin() as conn:
            conn.execute(text.encode())

    def settle(self, settings: Mapping[str, str]) -> None:
        """Change settings of the running server."""
        with self.server.admin() as admin:
            for name, value in settings.items():
                admin.execute(f"alter system set {name} = {value}".encode())
            admin.execute("select pg_reload_conf()")

    def rest(self, seconds: float = 15) -> list[str]:
        """Wait until no session and no advisory lock of planrun is left; return those that stay."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self._sessions(), seconds)
        return [str(pid) for pid in self._sessions()]

    def _sessions(self) -> list[int]:
        with self.server.admin() as conn:
            return [row[0] for row in conn.execute(OURS, (LIVE, SOURCE)).fetchall()]

    # -------------------------------------------------------------- databases and commands

    def connect(self, name: str = LIVE) -> psycopg.Connection[Any]:
        """Return a connection of our own, which no wire counts."""
        return psycopg.connect(self.server.conninfo(name), autocommit=True, application_name="harness")

    def run_sql(self, *texts: str, of: str = LIVE) -> None:
        with self.connect(of) as conn:
            for text in texts:
                conn.execute(text.encode())

    def _terminate(self, pid: int) -> None:
        with self.server.admin() as conn:
            conn.execute("select pg_terminate_backend(%s)", (pid,))

    def env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PLANRUN_PG_TREES", "LANG") if name in os.environ}
        target = psycopg.conninfo.make_conninfo("", **self.target.words({**self.server.words, "dbname": LIVE}))
        source = psycopg.conninfo.make_conninfo("", **self.source.words({**self.server.words, "dbname": SOURCE}))
        return {
            **kept, "CI": "1", "TMPDIR": str(self.tmp), "PLANRUN_STATE_DIR": str(self.folder / "state"),
            "PLANRUN_TARGET_URL": target, "DATABASE_URL": target, "PLANRUN_SOURCE_URL": source,
        }  # fmt: skip

    def start(self, *args: str, watch: bool = False, **planned_failure: Any) -> Running:
        """Start a command. watch: with the thread that names blockers. planned_failure: the fields of
        failure_points.PlannedFailure."""
        env = self.env() | ({"PLANRUN_CRASH_WATCH": "1"} if watch else {})
        running = self.fork_server.start(
            args,
            cwd=self.folder,
            env=env,
            logs=self.logs,
            planned_failure={"root": str(self.folder), **planned_failure},
        )
        self.target.victim = self.source.victim = running.pid
        return running

    def run(self, *args: str, **planned_failure: Any) -> Ended:
        return self.start(*args, **planned_failure).wait()

    def processes(self) -> dict[int, str]:
        """Return what still runs of all that planrun started: they know our folder for temporary files.

        But what ends them when planrun is killed, which may wait for them for five seconds more.
        """
        mark, found = f"TMPDIR={self.tmp}".encode(), {}
        for each in Path("/proc").iterdir():
            if each.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (each / "environ").read_bytes().split(b"\0"):
                        words = (each / "cmdline").read_bytes().replace(b"\0", b" ")
                        found[int(each.name)] = words.decode(errors="replace")
        return {pid: words for pid, words in found.items() if words.strip(" ") and not re.search(_LEASH, words)}

    def end_all(self, seconds: float = 8) -> list[str]:
        """Wait until no process that planrun started is left; return those that stay, and end them."""
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.processes(), seconds)
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return list(left.values())


@contextlib.contextmanager
def open_stage(settings: Sequence[str] = ()) -> Iterator[Stage]:
    """A stage on a server of its own that survives a crash: what was committed is there when it is back."""
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="planrun-crash-", dir=base) as folder,
        servers.local(settings={"synchronous_commit": "on", "max_replication_slots": "4", **SLOW}) as server,
        ForkServer() as fork_server,
    ):
        stage = Stage(server, Path(folder), fork_server)
        stage.settle(QUIET)
        with stage.target, stage.source:
            yield stage
