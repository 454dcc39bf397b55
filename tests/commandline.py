"""`planrun` in separate processes: a folder with a plan, how a command ended, and what it left."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from runner.cli import main

ROOT = Path(__file__).parents[1]
STARTED = "import sys; from runner.cli import main; sys.exit(main(sys.argv[1:]))"


class Done(NamedTuple):
    """How a command ended; `output` is everything that it printed."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        return self.err + self.out


class House:
    """A folder with plan.yml in it, where planrun is called for one database.

    env: variables for the commands besides the general ones. Every command has its own process session, so that what
    it leaves running can be found.
    """

    def __init__(self, folder: Path, db: str, plan: str) -> None:
        self.folder, self.db, self.backups = folder, db, folder / "backups"
        self.env = {"DATABASE_URL": db, "PLANRUN_STATE_DIR": str(folder / "state"), "CI": "1"}
        self.started: list[subprocess.Popen[str]] = []
        self.write(plan)

    def write(self, plan: str) -> None:
        (self.folder / "plan.yml").write_text(plan)

    def start(self, *args: str, before: str = "", env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command. before: Python that runs in its process first, such as a limit or a broken part."""
        call = ["-c", f"{before}\n{STARTED}"] if before else ["-m", "runner"]
        process = subprocess.Popen(
            [sys.executable, *call, *args],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env, **(env or {})},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, *args: str, before: str = "", env: Mapping[str, str] | None = None) -> Done:
        return self.end(self.start(*args, before=before, env=env))

    def end(self, process: subprocess.Popen[str], *, killed: bool = False) -> Done:
        """Wait for the end of a command, and check that no child, lock or connection of it is left."""
        try:
            out, err = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"it did not end:\n{err}{out}") from None
        if killed:
            wait_for(lambda: children(process.pid) == [])
        assert children(process.pid) == []
        return Done(process.returncode, out, err)

    def close(self) -> None:
        """End what a test that failed has left."""
        for process in self.started:
            process.kill()
            process.communicate()

    def sessions(self) -> dict[str, str]:
        """Return the state of every session that `backups list` counts, by name."""
        with contextlib.redirect_stdout(io.StringIO()) as out:  # here, as a process of its own takes half a second
            assert main(["backups", "list", str(self.folder / "plan.yml"), "-o", "json"]) == 0
        return {one["name"]: one["state"] for one in json.loads(out.getvalue())["sessions"]}

    def unfinished_files(self) -> list[str]:
        """Return the files in the backup folder outside of complete sessions."""
        if not self.backups.exists():
            return []
        return sorted(p.name for p in self.backups.iterdir() if "partial" in p.name or p.name.startswith("."))

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Return the mode and the bytes of every file in the backup folder."""
        found = (path for path in self.backups.rglob("*") if path.is_file())
        return {str(p.relative_to(self.backups)): (p.stat().st_mode, p.read_bytes()) for p in found}


def children(session: int) -> list[int]:
    """Return the processes of a session that still run."""
    listed = subprocess.run(["ps", "-eo", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    found = []
    for line in listed.splitlines():
        pid, stat = line.split()[:2]
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(pid)) == session and not stat.startswith("Z"):
                found.append(int(pid))
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@contextlib.contextmanager
def connect_to(db: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(db, autocommit=True) as conn:
        yield conn
