"""A proxy that counts what clients ask of a PostgreSQL server, and fails at the n-th request.

A request is a unit of the protocol that is answered: the connection itself, a simple query, a batch up to its Sync,
the first row of a COPY and its end. So every COMMIT is lost once on its way to the server and once on its way back.
Source: PostgreSQL docs 55.2 (message flow), 55.7 (message formats).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from tests.crash.failure_points import RUN

_CANCEL, _ENDS = 80877102, b"QScf"
_ANSWERED = b"ZGHW"
_DO = b"do $$ begin perform pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid()); perform pg_catalog.pg_sleep(9);"
CANCELLED = _DO + b" end $$"
HOWS = ("going", "coming", "terminated", "cancelled", "killed-going", "killed-coming", "killed-held", "called")


class Cut(NamedTuple):
    """What happens at request `at`.

    how: `going` (cut before the server has it), `coming` (cut when it is answered), `terminated` (57P01) and
    `cancelled` (57014) as a DBA would do it, `killed-going` and `killed-coming` (planrun itself), `killed-held`
    (planrun itself, and who asked is never answered), `called` (the wire's `call` runs, then it goes on).
    stays: the server cannot be reached any more until the next run.
    """

    how: str = ""
    at: int = 0
    stays: bool = False


class Lost(Exception):
    """This connection is over."""


class Wire:
    """Listens on 127.0.0.1:`port`. Each connection has a thread; requests are counted over all of them.

    each: called before every request is forwarded. call: what `called` does. terminate: ends a backend by its pid.
    victim: the process that `killed-*` kills.
    """

    def __init__(self, path: str, terminate: Callable[[int], None]) -> None:
        self.path, self.terminate = path, terminate
        self.each: Callable[[], None] = lambda: None
        self.call: Callable[[], None] = lambda: None
        self.victim = 0
        self._lock = threading.Lock()
        self.begin(Cut())

    def begin(self, cut: Cut) -> None:
        """Count from 1 again."""
        with self._lock:
            self.cut, self.fired, self.trace, self.down = cut, "", list[str](), False

    def words(self, words: Mapping[str, str]) -> dict[str, str]:
        return {**words, "host": "127.0.0.1", "port": str(self.port), "sslmode": "disable", "gssencmode": "disable"}

    def __enter__(self) -> Wire:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=_Link(self, client).serve, daemon=True).start()

    def count(self, what: str) -> str:
        """Count a request; return how it must fail, "" if it must not."""
        with self._lock:
            self.trace.append(RUN.sub("*", what))
            if len(self.trace) != self.cut.at or not self.cut.how:
                return ""
            self.fired, self.down = what, self.cut.stays
            return self.cut.how

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.victim, signal.SIGKILL)


class _Link:
    """One client's connection and ours to the server behind it."""

    def __init__(self, wire: Wire, client: socket.socket) -> None:
        self.wire, self.client = wire, client
        self.server = socket.socket(socket.AF_UNIX)
        self.name, self.pid = "", 0
        self._said, self._unit, self._heard = b"", b"", b""
        self._started = self._copying = self._ready = False
        self._what = ""

    def serve(self) -> None:
        try:
            if not self.wire.down:
                self.server.connect(self.wire.path)
                self._pump()
        except (OSError, Lost):
            pass  # a fault that we made, or somebody left
        finally:
            for end in (self.client, self.server):
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.close()

    def _pump(self) -> None:
        while True:
            for end in select.select([self.client, self.server], [], [], 1)[0]:
                data = end.recv(1 << 16)
                if self.wire.down:
                    raise Lost
                if end is self.server:
                    self._listen(data)
                    self.client.sendall(data)
                elif data:
                    self._said += data
                    self._take()
                if not data:
                    raise Lost
            if self.wire.down:
                raise Lost

    # -------------------------------------------------------------- from the client

    def _take(self) -> None:
        """Forward what is whole: messages go on when their unit is complete."""
        while True:
            head = 5 if self._started else 4
            if len(self._said) < head:
                return
            (length,) = struct.unpack_from("!I", self._said, head - 4)
            size = length + head - 4
            if len(self._said) < size:
                return
            message, self._said = self._said[:size], self._said[size:]
            self._message(message)

    def _message(self, message: bytes) -> None:
        self._unit += message
        if not self._started:
            self._startup(message)
            return
        kind = message[:1]
        if kind in b"QP":
            text = message[5:] if kind == b"Q" else message[5:].split(b"\0", 1)[1]
            self._what = _line(text.split(b"\0", 1)[0])
        if kind == b"d":
            if self._copying:
                self._forward()
            else:
                self._copying, self._what = True, "the first of COPY"
                self._request()
        elif kind in _ENDS:
            if self._copying:
                self._copying, self._what = False, "the end of COPY"
            self._request()
        elif kind in b"XH":
            self._forward()

    def _startup(self, message: bytes) -> None:
        (code,) = struct.unpack_from("!I", message, 4)
        if code == _CANCEL:
            self._forward()
            return
        self._started = True
        words = message[8:].split(b"\0")
        named = dict(zip(words[::2], words[1::2], strict=False))
        self.name = named.get(b"application_name", b"").decode().partition("/")[0]
        self._what = "connect"
        self._request()

    def _request(self) -> None:
        self.wire.each()
        match self.wire.count(f"{self.name}: {self._what}"):
            case "going":
                raise Lost
            case "coming":
                self._swallow_answer()
                raise Lost
            case "terminated" if self.pid:
                self.wire.terminate(self.pid)
                while data := self.server.recv(1 << 16):
                    self.client.sendall(data)
                raise Lost
            case "cancelled" if self._ready and self._unit[:1] in b"QPBS" and not self._what.startswith("rollback"):
                self._unit = b"Q" + struct.pack("!I", len(CANCELLED) + 5) + CANCELLED + b"\0"
            case "killed-going":
                self.wire.kill()
                raise Lost
            case "killed-coming":
                self._swallow_answer()
                self.wire.kill()
                raise Lost
            case "killed-held":
                self.wire.kill()
                while self.client.recv(1 << 16):
                    pass
                raise Lost
            case "called":
                self.wire.call()
        self._forward()

    def _forward(self) -> None:
        self.server.sendall(self._unit)
        self._unit = b""

    # -------------------------------------------------------------- from the server

    def _listen(self, data: bytes) -> None:
        """Until the first ReadyForQuery: find the backend's pid, which pg_terminate_backend needs."""
        if self._ready:
            return
        for kind, body in self._messages(data):
            if kind == b"K":
                (self.pid,) = struct.unpack_from("!I", body)
            self._ready = self._ready or kind == b"Z"

    def _messages(self, data: bytes) -> list[tuple[bytes, bytes]]:
        self._heard += data
        found = []
        while len(self._heard) >= 5:
            (length,) = struct.unpack_from("!I", self._heard, 1)
            if len(self._heard) < length + 1:
                break
            found.append((self._heard[:1], self._heard[5 : length + 1]))
            self._heard = self._heard[length + 1 :]
        return found

    def _swallow_answer(self) -> None:
        """Send the request to the server, wait for the end of its answer, and discard the answer."""
        self._forward()
        if self._copying:
            return  # a row of COPY has no answer
        while data := self.server.recv(1 << 16):
            if any(kind in _ANSWERED for kind, _ in self._messages(data)):
                return


def _line(text: bytes) -> str:
    return re.sub(r"\s+", " ", text.decode(errors="replace"))[:90].strip()
