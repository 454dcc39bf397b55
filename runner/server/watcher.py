"""The process between planrun and a private server: it cleans up when planrun ends, for whatever reason.

It is a script that needs only the standard library. It creates the folders itself, so that there is no
moment in which nobody would remove them, and then runs commands from its standard input, one JSON list per line; each
gets one JSON answer. At the end of the input planrun is gone: the watcher stops the server and removes the folders.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile

SOCKET_LIMIT = 80  # bytes of a folder's path; "/.s.PGSQL.5432.lock" follows it, and macOS allows 103 (Linux 107)
STOP_SECONDS = 20  # a fast shutdown without fsync takes 0.03 s


class Watcher:
    """The folders and the server of one planrun process; `user` and `group` run the server, None for the current
    ones."""

    def __init__(self, base: str, user: int | None, group: int | None) -> None:
        self.user, self.group = user, group
        self.folder = self._make(base)
        self.sockets = self.folder if len(os.fsencode(self.folder)) <= SOCKET_LIMIT else self._make("/tmp")
        self.server: subprocess.Popen[bytes] | None = None
        self.all_gone = -1  # a pipe that every process of the server keeps open

    def _make(self, base: str) -> str:
        folder = tempfile.mkdtemp(prefix="planrun-", dir=base)
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group)
        return folder

    def _popen(self, argv: tuple[str, ...], out: int, keep: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else [],
            pass_fds=keep,
        )

    def run(self, *argv: str) -> list[int | str]:
        """Run a program to its end; return its exit code and the end of its output."""
        with self._popen(argv, subprocess.PIPE) as child:
            said, _ = child.communicate()
        return [child.returncode, said.decode(errors="replace")[-2000:]]

    def start(self, log: str, *argv: str) -> int:
        """Start the server, which writes to the file `log`; return its pid."""
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.all_gone, held = os.pipe()
        try:
            self.server = self._popen(argv, out, (held,))
        finally:
            os.close(out)
            os.close(held)
        return self.server.pid

    def alive(self) -> bool:
        return self.server is not None and self.server.poll() is None

    def stop(self, how: int = signal.SIGINT) -> int:
        """Stop the server by a signal, if necessary by harsher ones; return its exit code (0 if there is no server).

        Backends outlive a killed postmaster for a moment: a start would find their shared memory in use, and
        removing the folders would race with them. So this waits for the last one.
        """
        if self.server is None:
            return 0
        for number in (how, signal.SIGQUIT, signal.SIGKILL):
            self.server.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(STOP_SECONDS)
                break
        select.select([self.all_gone], [], [], STOP_SECONDS)
        os.close(self.all_gone)
        code, self.server = self.server.returncode, None
        return code

    def clean(self) -> None:
        """Stop the server and remove everything: its folders, and System V shared memory of a killed postmaster."""
        self.stop()
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(os.path.join(self.folder, "data", "postmaster.pid")) as file:  # noqa: PTH118, PTH123
                segment = file.read().splitlines()[6].split()[1]
            self.run("ipcrm", "-m", str(int(segment)))
        for folder in (self.folder, self.sockets):
            shutil.rmtree(folder, ignore_errors=True)


def serve(watcher: Watcher) -> None:
    """Run the command in each line until the input ends."""
    for line in sys.stdin:
        verb, *words = json.loads(line)
        try:
            say({"ok": getattr(watcher, verb)(*words)})
        except OSError as error:
            say({"error": str(error)})


def say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def main(base: str, user: int | None, group: int | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # a handler, not SIG_IGN, which the server would inherit. A service manager sends SIGTERM to
        # all processes at once; this one still ends only when planrun has ended.
        signal.signal(number, lambda *_: None)
    try:
        watcher = Watcher(base, user, group)
    except OSError as error:
        say({"error": str(error)})
        return
    try:
        with contextlib.suppress(BrokenPipeError):
            say({"ok": [watcher.folder, watcher.sockets]})
            serve(watcher)
    finally:
        watcher.clean()


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
