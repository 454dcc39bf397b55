"""Run planrun in processes that start at once: one process imports everything, and every command is a fork of it.

    python -m tests.crash.fork_server      one JSON request a line on stdin, one JSON answer a line on stdout

Each fork has its own process session, so that its children can be found and killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DIVIDER = "\n---- and then ----\n"


class Running:
    """A planrun at work. `out` and `err` are the files that it writes to."""

    def __init__(self, fork_server: ForkServer, pid: int, out: Path, err: Path, trace: Path) -> None:
        self.fork_server, self.pid, self.out, self.err, self.trace = fork_server, pid, out, err, trace

    def wait(self, seconds: float = 90) -> Ended:
        """Wait for its end; one that hangs is killed, and its code is then None."""
        code = self.fork_server.ask(wait=self.pid, seconds=seconds)["code"]
        return Ended(code, self.out.read_text(), self.err.read_text(), self.pid, tuple(_points(self.trace)))


class Ended:
    """How a planrun ended, its output, and the failure points that it reached, as (door, number, failed, what)."""

    def __init__(
        self, code: int | None, out: str, err: str, pid: int, points: tuple[tuple[str, int, bool, str], ...]
    ) -> None:
        self.code, self.out, self.err, self.pid, self.points = code, out, err, pid, points

    @property
    def output(self) -> str:
        return self.err + self.out

    @property
    def failure_point(self) -> str:
        return next((f"{door} {number}: {what}" for door, number, failed, what in self.points if failed), "")


def _points(trace: Path) -> list[tuple[str, int, bool, str]]:
    lines = trace.read_text(errors="replace").splitlines() if trace.exists() else []
    cells = [line.split("\t", 3) for line in lines]
    return [(door, int(number), failed == "!", what) for door, number, failed, what in cells]


class ForkServer:
    """The process that forks. Use in a `with`."""

    def __enter__(self) -> ForkServer:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.fork_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._number = 0
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def start(
        self, args: Sequence[str], *, cwd: Path, env: Mapping[str, str], logs: Path, planned_failure: Mapping[str, Any]
    ) -> Running:
        """Start `planrun ARGS`. planned_failure: the fields of failure_points.PlannedFailure but its trace, which is
        kept in `logs`."""
        self._number += 1
        out, err, trace = (logs / f"{self._number}.{name}" for name in ("out", "err", "trace"))
        answer = self.ask(
            args=list(args), cwd=str(cwd), env=dict(env), out=str(out), err=str(err),
            planned_failure={**planned_failure, "trace": str(trace)},
        )  # fmt: skip
        return Running(self, answer["pid"], out, err, trace)

    def ask(self, **words: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


# ------------------------------------------------------------------ the process itself


def _serve() -> None:
    _import_all()
    for line in sys.stdin:
        request = json.loads(line)
        answer = _wait_for_child(**request) if "wait" in request else {"pid": _fork(request)}
        print(json.dumps(answer), flush=True)


def _import_all() -> None:
    """Import every module of the package."""
    import runner

    for module in pkgutil.walk_packages(runner.__path__, "runner."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # so that reference counts do not make a fork copy pages


def _wait_for_child(wait: int, seconds: float) -> dict[str, int | None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pid, status = os.waitpid(wait, os.WNOHANG)
        if pid:
            return {"code": os.waitstatus_to_exitcode(status)}
        time.sleep(0.004)
    with contextlib.suppress(ProcessLookupError):
        os.kill(wait, signal.SIGKILL)
    os.waitpid(wait, 0)
    return {"code": None}


def _fork(request: Mapping[str, Any]) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        code = _planrun(request)
    except BaseException as exc:  # what main itself did not catch is for the one who reads the log
        code = exc.code if isinstance(exc, SystemExit) and isinstance(exc.code, int) else 99
        if code == 99:
            print(f"Traceback: {exc!r}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _planrun(request: Mapping[str, Any]) -> int:
    os.setsid()
    for number, name in enumerate(("/dev/null", request["out"], request["err"])):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        os.dup2(os.open(name, flags, 0o600), number)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    from runner.cli import main
    from runner.database import blockers
    from tests.crash import failure_points

    if not request["env"].get("PLANRUN_CRASH_WATCH"):
        # who waits is looked at by the clock, from a thread: without it the points of a run are always the same
        blockers._Look._go = lambda self: None  # type: ignore[method-assign]
    failure_points.install(failure_points.PlannedFailure(**request["planned_failure"]))
    *before, last = _split(request["args"])
    for args in before:
        main(args)
        print(DIVIDER)
    return main(last)


def _split(args: Sequence[str]) -> list[list[str]]:
    """Several commands may be given at once, with `&&` between them."""
    found: list[list[str]] = [[]]
    for arg in args:
        found = [*found, []] if arg == "&&" else [*found[:-1], [*found[-1], arg]]
    return found


if __name__ == "__main__":
    _serve()
