"""A small transaction-pooling proxy: to a client it looks as PgBouncer with pool_mode=transaction does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from collections import deque

from psycopg import pq

from tests.listener import Listener

PROTOCOL_3, SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 196608, 80877103, 80877104, 80877102
REPORTED = (
    b"server_version",
    b"server_encoding",
    b"client_encoding",
    b"application_name",
    b"is_superuser",
    b"session_authorization",
    b"DateStyle",
    b"IntervalStyle",
    b"TimeZone",
    b"integer_datetimes",
    b"standard_conforming_strings",
    b"in_hot_standby",
    b"default_transaction_read_only",
)


class PoolProxy(Listener):
    """Shares `size` server connections, made with `conninfo`, among any number of clients.

    A client holds a server connection from its first message to the ReadyForQuery that says "idle". The next
    transaction gets another one, the one idle for longest, so that a test sees the change at once; without
    `round_robin` it gets the one used last, and a new one only when all are busy, as PgBouncer does by default.
    BackendKeyData is made up, words of the start-up packet are ignored, nothing is reset in between.
    """

    def __init__(self, conninfo: str, size: int = 2, *, round_robin: bool = True) -> None:
        super().__init__()
        self.conninfo, self.size, self.round_robin = conninfo, size, round_robin
        self.backend_pids: list[int] = []  # who served each transaction, in order
        self._backends: list[_Backend] = []
        self._idle: deque[_Backend] = deque()
        self._freed = asyncio.Event()
        self._sessions: dict[tuple[int, int], _Session] = {}
        self._numbers = itertools.count(900_001)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(reader, writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if await self._greet(session):
                await self._serve_session(session)
        self._part(session)
        writer.close()

    def _goodbye(self) -> None:
        for backend in self._backends:
            backend.close()
        self._backends.clear()

    # -------------------------------------------------------------- the start of a connection

    async def _greet(self, session: _Session) -> bool:
        """Answer the start-up packet; false when this was a cancel request."""
        while (code := await session.startup_code()) in (SSL_REQUEST, GSS_REQUEST):
            session.writer.write(b"N")
        if code == CANCEL_REQUEST:
            await self._cancel(session.key)
            return False
        session.key = (next(self._numbers), 4242)
        self._sessions[session.key] = session
        backend = await self._take()
        session.writer.write(_message(b"R", struct.pack("!i", 0)) + backend.reports())
        self._give_back(backend)
        session.writer.write(_message(b"K", struct.pack("!ii", *session.key)) + _message(b"Z", b"I"))
        return True

    async def _cancel(self, key: tuple[int, int]) -> None:
        session = self._sessions.get(key)
        if session and session.backend:
            await self._loop.run_in_executor(None, session.backend.connection.get_cancel().cancel)

    # -------------------------------------------------------------- transactions

    async def _serve_session(self, session: _Session) -> None:
        while True:
            kind, message = await _read(session.reader)
            if kind == b"X":
                return
            if session.backend is None:
                session.backend = await self._take()
                self.backend_pids.append(session.backend.connection.backend_pid)
                session.relay = asyncio.create_task(self._relay(session, session.backend))
            if kind in (b"Q", b"S", b"F"):
                session.awaited.append(kind)
            session.backend.writer.write(message)
            await session.backend.writer.drain()

    async def _relay(self, session: _Session, backend: _Backend) -> None:
        """Pass the server's answers on until the transaction is over, then let the connection go."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while session.backend:
                kind, message = await _read(backend.reader)
                session.writer.write(message)
                if kind == b"G" and session.awaited[:1] == [b"S"]:
                    session.awaited.pop(0)  # during COPY FROM STDIN the server ignores a Sync
                elif kind == b"Z":
                    session.awaited.pop(0)
                    if message[5:] == b"I" and not session.awaited:
                        session.backend = None
                        self._give_back(backend)
                await session.writer.drain()
            return
        session.writer.close()

    async def _take(self) -> _Backend:
        while self.round_robin or not self._idle:
            if len(self._backends) < self.size:
                return await self._new()
            if self._idle:
                break
            self._freed.clear()
            await self._freed.wait()
        return self._idle.popleft() if self.round_robin else self._idle.pop()

    async def _new(self) -> _Backend:
        self._backends.append(backend := _Backend())  # before it is open, so that nobody else takes its place
        try:
            await backend.open(self.conninfo)
        except OSError:
            self._backends.remove(backend)
            raise
        return backend

    def _give_back(self, backend: _Backend) -> None:
        self._idle.append(backend)
        self._freed.set()

    def _part(self, session: _Session) -> None:
        """A client is gone; what it left in the middle of a transaction goes with it."""
        self._sessions.pop(session.key, None)
        if session.relay:
            session.relay.cancel()
        if session.backend and session.backend in self._backends:
            session.backend.close()
            self._backends.remove(session.backend)
            self._freed.set()


class _Session:
    """One client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.key = (0, 0)
        self.backend: _Backend | None = None
        self.relay: asyncio.Task[None] | None = None
        self.awaited: list[bytes] = []  # messages for which a ReadyForQuery is to come

    async def startup_code(self) -> int:
        """Read a packet that has no type byte; keep the key of a cancel request."""
        size, code = struct.unpack("!ii", await self.reader.readexactly(8))
        rest = await self.reader.readexactly(size - 8)
        if code == CANCEL_REQUEST:
            self.key = struct.unpack("!ii", rest)
        return int(code)


class _Backend:
    """One connection to the server. libpq opens it, for it can authenticate; then we speak on its socket."""

    connection: pq.abc.PGconn
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def open(self, conninfo: str) -> None:
        words = f"{conninfo} sslmode=disable gssencmode=disable".encode()
        self.connection = await asyncio.to_thread(pq.PGconn.connect, words)
        if self.connection.status != pq.ConnStatus.OK:
            raise ConnectionError(self.connection.get_error_message())
        ours = socket.socket(fileno=os.dup(self.connection.socket))
        ours.setblocking(False)
        self.reader, self.writer = await asyncio.open_connection(sock=ours)

    def reports(self) -> bytes:
        """Return a ParameterStatus message for each setting that the server reported."""
        values = ((name, self.connection.parameter_status(name)) for name in REPORTED)
        return b"".join(_message(b"S", name + b"\0" + value + b"\0") for name, value in values if value)

    def close(self) -> None:
        self.writer.transport.abort()
        self.connection.finish()


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the type of the next message, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
