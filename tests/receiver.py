"""A real HTTP server on this host for what `notify:` sends. It answers as it is told: well, wrongly or not at all."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass
class Receiver:
    """Keeps every request. The first part of a path says how it answers: see `answers`; anything else: 204.

    stop: set at the end, so that no handler outlives the test. on_request: is called before each answer.
    """

    requests: list[Request] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    on_request: Callable[[Request], object] = lambda request: None
    port: int = 0

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{path}"

    def of(self, path: str) -> list[Request]:
        return [one for one in self.requests if one.path.lstrip("/").startswith(path)]

    def wait_for(self, path: str, count: int = 1, seconds: float = 10) -> list[Request]:
        end = time.monotonic() + seconds
        while len(found := self.of(path)) < count:
            assert time.monotonic() < end, f"{path} got {len(found)} of {count} requests"
            time.sleep(0.02)
        return found


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length))
        self.receiver.requests.append(request)
        self.receiver.on_request(request)
        how = self.path.strip("/").partition("/")[0]
        with contextlib.suppress(OSError):  # planrun may have gone away
            getattr(self, f"answer_{how}", self.answer_well)()

    def do_GET(self) -> None:
        self.do_POST()

    def answer_well(self) -> None:
        self.send_response(204)
        self.end_headers()

    def answer_hang(self) -> None:
        self.receiver.stop.wait(30)

    def answer_refuse(self) -> None:
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b"no \x1b[31mtoken")

    def answer_busy(self) -> None:
        """503 twice, then well."""
        if len(self.receiver.of("busy")) > 2:
            self.answer_well()
            return
        self.send_response(503)
        self.send_header("Retry-After", "0")
        self.end_headers()

    def answer_redirect(self) -> None:
        self.send_response(307)
        self.send_header("Location", self.receiver.url("elsewhere"))
        self.end_headers()

    def answer_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.receiver.stop.is_set():
            self.wfile.write(b"x" * 65536)

    def answer_drip(self) -> None:
        """A header that never ends, a byte at a time: no read ever takes long."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.receiver.stop.wait(0.1):
            self.wfile.write(b"x")
            self.wfile.flush()

    def answer_garbage(self) -> None:
        self.wfile.write(b"220 mail.example.com ESMTP\r\n")

    def answer_gone(self) -> None:
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    handler = type("Handler", (_Handler,), {"receiver": found})
    server = _Server(("127.0.0.1", 0), handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.stop.set()
        server.shutdown()
        server.server_close()
