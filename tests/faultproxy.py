"""A proxy in front of a PostgreSQL server whose faults can be switched while connections are open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Mapping

from tests.listener import Listener

CHUNK = 65536
Target = str | tuple[str, int]


def target_of(words: Mapping[str, str]) -> Target:
    """Return where libpq parameters lead: the path of a Unix socket, or (host, port)."""
    host, port = words.get("host", ""), words.get("port", "5432")
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, int(port))


class FaultProxy(Listener):
    """Listens on 127.0.0.1:`port` and forwards to `target`, in the listener's thread. The switches:

    latency         seconds that each chunk waits, in both directions
    rate            bytes per second, or None
    hang            nothing is forwarded until it is false again
    hang_on         when a client sends these bytes, they are held back and `hang` is true
    hang_after      these bytes are forwarded, and then `hang` is true: their answer is held back
    refuse          a new connection is reset at once
    cut_after       reset when the server has sent more than this many bytes on a connection
    cut_on          reset when a client sends these bytes; the server never gets them
    swallow_on      these bytes are forwarded, and the answer is lost with the connection

    `connections` counts them, and `sent` holds each chunk that a client has sent: a message, unless it is large.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target
        self.latency = 0.0
        self.rate: int | None = None
        self.hang = False
        self.hang_on: bytes | None = None
        self.hang_after: bytes | None = None
        self.refuse = False
        self.cut_after: int | None = None
        self.cut_on: bytes | None = None
        self.swallow_on: bytes | None = None
        self.connections = 0
        self.sent: list[bytes] = []
        self._open: set[asyncio.StreamWriter] = set()

    def reset(self) -> None:
        """Cut every open connection now (RST, where it is TCP)."""
        self._loop.call_soon_threadsafe(self._reset_all)

    # -------------------------------------------------------------- in the thread

    def _goodbye(self) -> None:
        self._reset_all()

    def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            if not self.refuse:
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # a fault we made, or the end of the proxy
        finally:
            _reset(writer)
            self._open.discard(writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await _connect(self.target)
        self._open.add(back_writer)
        link = _Link()
        pumps = [
            asyncio.create_task(self._up(link, reader, back_writer)),
            asyncio.create_task(self._down(link, back_reader, writer)),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            _reset(back_writer)
            self._open.discard(back_writer)

    async def _up(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            self.sent.append(data)
            if self.cut_on and self.cut_on in data:
                raise ConnectionResetError
            if self.swallow_on and self.swallow_on in data:
                link.swallow = True
            if self.hang_on and self.hang_on in data:
                self.hang = True
            await self._pass_on(data, writer, last=bool(self.hang_after and self.hang_after in data))
        _half_close(writer)

    async def _down(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            link.received += len(data)
            if link.swallow or (self.cut_after is not None and link.received > self.cut_after):
                raise ConnectionResetError
            await self._pass_on(data, writer)
        _half_close(writer)

    async def _pass_on(self, data: bytes, writer: asyncio.StreamWriter, *, last: bool = False) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        while self.hang:
            await asyncio.sleep(0.02)
        if self.rate:
            await asyncio.sleep(len(data) / self.rate)
        writer.write(data)
        self.hang = self.hang or last
        await writer.drain()


class _Link:
    """What is known of one client's connection."""

    received = 0
    swallow = False


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


def _reset(writer: asyncio.StreamWriter) -> None:
    peer: socket.socket | None = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        if peer is not None and peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _half_close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
