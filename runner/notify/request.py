"""One HTTP request to a server that may hang, lie or never end its answer: it is over at its deadline."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import SplitResult, urlsplit, urlunsplit

from runner.version import __version__
from runner.words import one_line

MOST = 2_000
"""Bytes of an answer that are read: the beginning of an error page says why."""

_SHOWN = 200
"""Characters of an answer in a message."""

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Statuses after which the same request may succeed a little later (RFC 9110, 6585, 8470)."""


class RequestError(Exception):
    """The request failed. again: the same one may succeed later. wait: seconds that the server asks for."""

    def __init__(self, message: str, *, again: bool, wait: float = 0.0) -> None:
        super().__init__(message)
        self.message, self.again, self.wait = message, again, wait


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


def post(url: str, body: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
    """Send a POST and return the answer. Raises RequestError, also if `deadline` (of time.monotonic) passes.

    A redirect is not followed: it would lead a signed message, or the address of a check, to another server.
    """
    parts = urlsplit(url)
    left = deadline - time.monotonic()
    if left <= 0:
        raise RequestError("there was no time left", again=False)
    conn, target = _connection(parts, left)
    told = {"User-Agent": f"planrun/{__version__}", "Connection": "close", **headers}
    try:
        with _close_at(conn, left):
            conn.request("POST", target, body=body, headers=told)
            with contextlib.closing(conn.getresponse()) as answer:
                text = one_line(answer.read(MOST).decode("utf-8", "replace"))[:_SHOWN]
                status, place, wait = answer.status, answer.getheader("Location") or "", answer.getheader("Retry-After")
        if time.monotonic() >= deadline:  # its end is that of the connection
            raise TimeoutError
    except ssl.SSLError as exc:
        raise RequestError(f"TLS failed: {exc.reason or exc}", again=False) from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        refused = isinstance(exc, ConnectionRefusedError)
        late = isinstance(exc, TimeoutError) or (time.monotonic() >= deadline - 0.01 and not refused)
        raise RequestError("no complete answer in time" if late else _reason(exc), again=not late) from None
    finally:
        conn.close()
    if 200 <= status < 300:
        return Answer(status, text)
    if 300 <= status < 400:
        raise RequestError(f"it answered {status}, to {_host(place)}; planrun follows no redirect", again=False)
    raise RequestError(f"it answered {status}{f' ({text})' if text else ''}", again=status in _AGAIN, wait=_wait(wait))


def _connection(parts: SplitResult, left: float) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection, through the proxy of the environment if there is one, and what to ask it for."""
    host, port, secure = parts.hostname or "", parts.port, parts.scheme.lower() == "https"
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    proxy = _proxy(parts)
    if secure:
        to = (proxy.hostname or "", proxy.port) if proxy else (host, port)
        conn = http.client.HTTPSConnection(*to, timeout=left, context=_context())
        if proxy:
            conn.set_tunnel(host, port or 443)
        return conn, path
    if proxy:
        whole = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", parts.query, ""))
        return http.client.HTTPConnection(proxy.hostname or "", proxy.port, timeout=left), whole
    return http.client.HTTPConnection(host, port, timeout=left), path


def _proxy(parts: SplitResult) -> SplitResult | None:
    found = urllib.request.getproxies().get(parts.scheme.lower(), "")
    if not found or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urlsplit(found if "://" in found else f"http://{found}")


@cache
def _context() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextlib.contextmanager
def _close_at(conn: http.client.HTTPConnection, left: float) -> Iterator[None]:
    """End the connection after `left` seconds: a server that sends a byte now and then outlives every other timeout."""
    timer = threading.Timer(left, _end, [conn])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(conn: http.client.HTTPConnection) -> None:
    if (sock := conn.sock) is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _reason(exc: Exception) -> str:
    if isinstance(exc, socket.gaierror):
        return "there is no server of this name"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if isinstance(exc, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    return f"it does not speak HTTP: {one_line(str(exc))[:_SHOWN] or type(exc).__name__}"


def _host(place: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(place).hostname or "another place"
    return "another place"


def _wait(text: str | None) -> float:
    """Return the seconds of a Retry-After; a date there counts as none."""
    return min(float(text), 3600.0) if text and text.isascii() and text.isdecimal() else 0.0
