"""The failure points inside a planrun process: every event, file operation and child is counted.

Installed in a forked process before `main`. The n-th point of one kind (`door`) fails as requested; all points of all
kinds are written to a trace, so that each point has a name and two runs can be compared.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

RUN = re.compile(
    r"\d{8}T\d{6}Z-[0-9a-f]{4}|\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z|[0-9a-f]{12,}|(?<=\.)[a-z0-9_]{8}\b"
    r"|(?<=\.tables-)[a-z0-9_]{8}\b|\b[0-9A-F]{8}-[0-9A-F]{8}-\d+|(?<=[^a-z])\d{5,}|(?<=_)\d{5,}"
)
"""Texts that differ from run to run: run ids, session names, names of temporary files, snapshots, OIDs."""


class PlannedFailure(NamedTuple):
    """The failure to cause: at point `at` of `door` (event, file, child), by `do`; `stays`: later points fail, too.

    do: KILL, TERM, INT; pause (until the file `go` exists); closed, full (the reader of planrun's output is gone,
    or has no room); error (of a file); exit, half, orphan (of a child).
    root: the folder whose files count. trace: the file that gets a line for each point.
    """

    root: str
    trace: str
    door: str = ""
    at: int = 0
    do: str = ""
    stays: bool = False


class FailurePoints:
    """Counts the points and lets the chosen one fail."""

    def __init__(self, planned_failure: PlannedFailure) -> None:
        self.planned_failure, self._lock = planned_failure, threading.Lock()
        self._counts: dict[str, int] = {}
        self._last: dict[str, str] = {}
        self._trace = os.open(planned_failure.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._write = os.write

    def point(self, door: str, what: str) -> bool:
        """Count a point; return whether it must fail.

        Pieces of one file, and of progress, arrive in any number: together they are one point.
        """
        with self._lock:
            if what == self._last.get(door) and what.startswith(("write backups", "told Progress")):
                return False
            self._last[door] = what
            number = self._counts[door] = self._counts.get(door, 0) + 1
            chosen = door == self.planned_failure.door and (
                number == self.planned_failure.at
                or (self.planned_failure.stays and number > self.planned_failure.at > 0)
            )
            line = f"{door}\t{number}\t{'!' if chosen else ' '}\t{RUN.sub('*', what)}\n"
            self._write(self._trace, line.encode(errors="replace"))
        return chosen

    def count_point(self, door: str, what: str) -> None:
        """Count a point where this process may be killed, stopped or told to end."""
        if self.point(door, what):
            self._act()

    def _act(self) -> None:
        if self.planned_failure.do == "pause":
            Path(self.planned_failure.trace + ".paused").touch()
            while not Path(self.planned_failure.trace + ".go").exists():
                time.sleep(0.005)
        elif self.planned_failure.do in ("closed", "full"):
            reader, writer = os.pipe()
            os.close(reader)
            full = os.open("/dev/full", os.O_WRONLY)
            for number in (1, 2):
                os.dup2(writer if self.planned_failure.do == "closed" else full, number)
        else:
            os.kill(os.getpid(), getattr(signal, f"SIG{self.planned_failure.do}"))


def install(planned_failure: PlannedFailure) -> None:
    failure_points = FailurePoints(planned_failure)
    _events(failure_points)
    _children(failure_points)
    _files(failure_points)


# ------------------------------------------------------------------ events


def _events(failure_points: FailurePoints) -> None:
    """A point before a record is written, and one when its event is told to the terminal."""
    from runner.events import Event, Progress
    from runner.journal.database import DatabaseJournal
    from runner.journal.file import FileJournal
    from runner.journal.records import is_kept
    from runner.run import plan_run

    def name(event: Event) -> str:
        planned = getattr(event, "planned", None) or getattr(event, "outcome", None) or event
        return f"{type(event).__name__} {getattr(planned, 'path', '')} {getattr(planned, 'state', '')}"

    def before(write: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(write)
        def write_at_a_point(self: Any, run: str, event: Event) -> None:
            if is_kept(event):
                failure_points.count_point("event", f"before {name(event)}")
            write(self, run, event)

        return write_at_a_point

    for each in (FileJournal, DatabaseJournal):
        each.write = before(each.write)  # type: ignore[method-assign]
    open_run = plan_run.open_run

    def run_with_events(plan: Any, env: Any, on_event: Any, *args: Any, **more: Any) -> Any:
        def listen(event: Event) -> None:
            if not (isinstance(event, Progress) and event.unit in ("line", "attempt")):  # these depend on the clock
                failure_points.count_point("event", f"told {name(event)}")
            if on_event:
                on_event(event)

        return open_run(plan, env, listen, *args, **more)

    plan_run.open_run = run_with_events


# ------------------------------------------------------------------ children


def _children(failure_points: FailurePoints) -> None:
    """The n-th program that is started ends at once, is killed when it has written 600 bytes, or outlives planrun."""
    from runner import tools

    class Counted(subprocess.Popen[Any]):
        def __init__(self, args: Any, *rest: Any, **more: Any) -> None:
            words = [os.fspath(word) for word in args] if isinstance(args, list | tuple) else [args]
            names = [Path(word).name for word in words if not word.startswith("-")]
            # the leader of a child's process group is not counted
            chosen = tools.GROUP_LEADER not in words and failure_points.point("child", " ".join(names[:5])[:60])
            orphan = chosen and failure_points.planned_failure.do == "orphan"
            if orphan and "process_group" not in more:
                orphan = chosen = False  # asked for its version only, or with a watcher of its own
            if chosen:
                words = _failing_program(words, failure_points.planned_failure.do)
            super().__init__(words, *rest, **more)
            if orphan:
                time.sleep(0.05)  # so long it had time to begin
                os.kill(os.getpid(), signal.SIGKILL)

    subprocess.Popen = Counted  # type: ignore[misc]


def _failing_program(words: list[str], how: str) -> list[str]:
    if how == "exit":
        return ["/bin/sh", "-c", "echo 'it broke here' >&2; exit 3"]
    if how == "orphan":  # with a child of its own, as npx and make have
        return ["/bin/sh", "-c", "sleep 600; true"]
    # dd passes each byte on, and the whole group is killed: psql answers, and waits for what comes next
    return ["/bin/sh", "-c", '"$0" "$@" | { dd bs=1 count=600 status=none; kill -9 0; }', *words]


# ------------------------------------------------------------------ files

_ERRNO = {"fsync": errno.EIO, "write": errno.ENOSPC, "flush": errno.ENOSPC, "close": errno.ENOSPC}
"""What fails by what it usually fails by; everything else is not allowed (EACCES)."""
_TAKES_ROOM = ("open for writing", "mkdir", "write", "flush", "close", "fsync")


def _files(failure_points: FailurePoints) -> None:
    """Every call of the system about a file below the root is a point."""
    root = failure_points.planned_failure.root.rstrip("/") + "/"

    def inside(path: Any, dir_fd: int | None = None) -> str:
        """Return the path below the root, "" when it is elsewhere. The plan itself is read before anything begins."""
        if isinstance(path, int):
            found = _of_descriptor(path)
        else:
            base = _of_descriptor(dir_fd) if dir_fd is not None else str(Path.cwd())
            found = str(Path(base, os.fsdecode(os.fspath(path))))
        below = found.removeprefix(root) if found.startswith(root) else ""
        return below if below.startswith(("backups", "state", "out")) else ""

    def meet(what: str, where: str) -> None:
        planned_failure = failure_points.planned_failure
        if not failure_points.point("file", f"{what} {where}"):
            return
        if planned_failure.do in ("KILL", "TERM", "INT"):
            failure_points._act()
        elif not planned_failure.stays or what in _TAKES_ROOM:
            number = errno.ENOSPC if planned_failure.stays else _ERRNO.get(what, errno.EACCES)
            raise OSError(number, os.strerror(number), where)

    def wrap(module: Any, name: str, what: Callable[..., str]) -> None:
        real = getattr(module, name)

        @functools.wraps(real)
        def call(path: Any = ".", *args: Any, **more: Any) -> Any:
            taken_over = isinstance(path, int) and module is io  # no file is opened then, so nothing can fail
            if not taken_over and (where := inside(path, more.get("dir_fd"))):
                meet(what(*args, **more), where)
            return real(path, *args, **more)

        setattr(module, name, call)

    for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "write", "scandir", "listdir", "fchmod"):
        wrap(os, name, lambda *args, name=name, **more: name)
    wrap(os, "open", _open_text)
    real_open = io.open
    wrap(io, "open", _open_text_of_mode)
    builtins.open = io.open
    real_fdopen = os.fdopen

    def fdopen(fd: int, mode: str = "r", *args: Any, **more: Any) -> Any:
        file, where = real_fdopen(fd, mode, *args, **more), inside(fd)
        return _Counted(file, lambda what: meet(what, where)) if where and "w" in mode else file

    os.fdopen = fdopen
    assert real_open is not io.open


def _of_descriptor(fd: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def _open_text(flags: int = 0, *args: Any, **more: Any) -> str:
    return "open for writing" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open"


def _open_text_of_mode(mode: str = "r", *args: Any, **more: Any) -> str:
    return "open" if mode.startswith("r") else "open for writing"


class _Counted:
    """A file that is written: what reaches the system is a point."""

    def __init__(self, file: Any, meet: Callable[[str], None]) -> None:
        self._file, self._meet = file, meet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> Any:
        self._meet("write")
        return self._file.write(data)

    def flush(self) -> None:
        self._meet("flush")
        self._file.flush()

    def close(self) -> None:
        self._meet("close")
        self._file.close()
