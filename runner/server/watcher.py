"""The process between planrun and a private server: it cleans up when planrun is gone, for whatever reason.

It is a script that needs nothing but the standard library. It makes the folders itself, so that there is no
moment in which they have no owner, and then does what its standard input says, one JSON list a line; each
gets one JSON answer. End of input means that planrun is gone: the server is stopped and the folders removed.
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

SOCKET_LIMIT = 80  # bytes of a folder; "/.s.PGSQL.5432.lock" comes after it, and macOS allows 103 (Linux 107)
STOP_SECONDS = 20  # a fast shutdown without fsync takes 0.03 s


class Watcher:
    """The folders and the server of one planrun process; `user` and `group` are who runs it, None for us."""

    def __init__(self, base: str, user: int | None, group: int | None) -> None:
        self.user, self.group = user, group
        self.folder = self._make(base)
        self.sockets = self.folder if len(os.fsencode(self.folder)) <= SOCKET_LIMIT else self._make("/tmp")
        self.server: subprocess.Popen[bytes] | None = None
        self.all_gone = -1  # a pipe that every process of the server holds open

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
        """Run a program to its end; give its exit code and the end of what it said."""
        with self._popen(argv, subprocess.PIPE) as child:
            said, _ = child.communicate()
        return [child.returncode, said.decode(errors="replace")[-2000:]]

    def start(self, log: str, *argv: str) -> int:
        """Start the server, writing to the file `log`; give its pid."""
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
        """Stop the server by a signal, if need be by harsher ones; give its exit code (0 when there is none).

        Backends outlive a killed postmaster for a moment: a start would find their shared memory in use, and
        removing the folders would race with them. So we wait for the last one.
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
        """Stop the server and leave nothing of it: no folder, no System V segment of a killed postmaster."""
        self.stop()
        with contextlib.suppress(OSError, IndexError, ValueError):
            with open(os.path.join(self.folder, "data", "postmaster.pid")) as file:  # noqa: PTH118, PTH123
                segment = file.read().splitlines()[6].split()[1]
            self.run("ipcrm", "-m", str(int(segment)))
        for folder in (self.folder, self.sockets):
            shutil.rmtree(folder, ignore_errors=True)


def serve(watcher: Watcher) -> None:
    """Do what each line says until the input ends."""
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
        # a handler, not SIG_IGN: that would be inherited by the server. A service manager sends SIGTERM to
        # everyone at once; the end of planrun is still the only reason to go.
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
