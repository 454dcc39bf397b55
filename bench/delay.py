"""A proxy in its own process that makes a server look far away: each message to it arrives later.

Called with a folder for its socket, the socket of the server, and milliseconds; prints a line when it listens. Only one
direction is delayed, by the whole round trip, because one wait is more exact than two.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

NAME = ".s.PGSQL.5432"
Chunk = tuple[float, bytes]


@contextlib.contextmanager
def far(folder: Path, server: Path, milliseconds: float) -> Iterator[str]:
    """Run the proxy; yield the folder of its socket, which is `host` for libpq."""
    folder.mkdir()
    argv = [sys.executable, "-m", "bench.delay", str(folder), str(server / NAME), str(milliseconds)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as child:
        try:
            assert child.stdout
            child.stdout.readline()
            yield str(folder)
        finally:
            child.terminate()


def serve(listener: socket.socket, server: str, seconds: float) -> None:
    while True:
        client, _ = listener.accept()
        behind = socket.socket(socket.AF_UNIX)
        behind.connect(server)
        later: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
        for work, words in (
            (_take, (client, later, seconds)),
            (_give, (behind, later)),
            (_pass_on, (behind, client)),
        ):
            threading.Thread(target=work, args=words, daemon=True).start()


def _take(client: socket.socket, later: queue.SimpleQueue[Chunk], seconds: float) -> None:
    """Note when each message is due, so that a second one does not wait for the first."""
    with contextlib.suppress(OSError):
        while data := client.recv(1 << 16):
            later.put((time.monotonic() + seconds, data))
    later.put((0, b""))


def _give(behind: socket.socket, later: queue.SimpleQueue[Chunk]) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, data = later.get()
            if not data:
                behind.shutdown(socket.SHUT_WR)
                return
            time.sleep(max(0, due - time.monotonic()))
            behind.sendall(data)


def _pass_on(behind: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := behind.recv(1 << 16):
            client.sendall(data)
    client.close()


def main(folder: str, server: str, milliseconds: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/{NAME}")
        listener.listen(64)
        print("ready", flush=True)
        serve(listener, server, float(milliseconds) / 1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
