"""Run other programs: never through a shell, with input and output supervised; no program outlives planrun.

A libpq program gets its password through an open descriptor and its other parameters through PG* variables.
Sources: PostgreSQL docs 34.15 (environment variables) and 34.16 (password file); prctl(2), memfd_create(2).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from runner.cancel import Cancel
from runner.errors import ConnectError, TargetError
from runner.words import plain

CHUNK = 1 << 16
KEPT = 64 * 1024
"""The last bytes of a child's messages are kept, up to this many: there programs say why they stop."""

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL; pg_dump needs a round trip to cancel its statement on the server."""

GROUP_LEADER = f"""
trap '' TERM INT HUP
while read -r word; do test "$word" = done && exit; child=$word; done
kill -TERM 0
left={GRACE * 10:.0f}
while test $left -gt 0 && kill -0 ${{child:-0}} 2>/dev/null; do sleep 0.1; left=$((left - 1)); done
kill -KILL 0
"""
"""The program of the leader of a child's process group: if planrun disappears, it ends the whole group."""

PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TERM", "SYSTEMROOT", "APPDATA"}
    | {"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "KRB5CCNAME", "KRB5_CONFIG", "SSL_CERT_FILE", "SSL_CERT_DIR"}
)
"""Variables that any child may see; the caller names all others that it needs."""

_VARIABLE = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "requirepeer": "PGREQUIREPEER",
    "channel_binding": "PGCHANNELBINDING",
    "require_auth": "PGREQUIREAUTH",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
_SECRET = frozenset({"password", "sslpassword"})

_MEANING = (
    (
        "server version mismatch",
        "",
        "install client programs at least as new as the server, or set PLANRUN_PG_BIN",
    ),
    (
        "row-level security",
        "",
        "back up as the table's owner or a role with BYPASSRLS: part of the rows is hidden here",
    ),
    (
        "permission denied",
        "",
        "grant select on the tables, usage on their schemas and select on their sequences",
    ),
    ("No space left on device", "", "free space there or choose another folder, then run again"),
    ("Check free disk space", "", "free space on the disk of the server, then run again"),
    ("Query was: LOCK TABLE", "lock", "another connection holds a lock: look at pg_stat_activity, then run again"),
    ("lock timeout", "lock", "another connection holds a lock: look at pg_stat_activity, then run again"),
    ("server closed the connection", "connection", "the server or the network went away: planrun doctor"),
    ("terminating connection", "connection", "the server ended the connection: see its log, then run again"),
    ("could not connect", "connection", "check host, port and that the server runs: pg_isready"),
    ("invalid snapshot identifier", "connection", "the connection that held the snapshot is gone: run again"),
)
_KILLED: Mapping[int, str] = {
    signal.SIGXFSZ: "raise the limit (ulimit -f), then run again",
    signal.SIGKILL: "perhaps the machine ran out of memory: see its system log, then run again",
}
_ROW = re.compile(r"(?:psql:\S*:\d+: )?(?:DETAIL|CONTEXT|STATEMENT|LOCATION|LINE \d+): ")
"""Lines of a server's error that repeat values of rows; they are left out of the journal."""
_STATE = re.compile(r"^((?:psql:\S*:\d+: )?(?:ERROR|FATAL|PANIC):  )([0-9A-Z]{5}): ", re.MULTILINE)
"""The text that psql prints before the message with VERBOSITY=verbose (PostgreSQL docs, psql)."""
_NOT_LET_IN = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "could not connect to server",
    "connection to server",
)


# ------------------------------------------------------------------ what a child may know


def environment(env: Mapping[str, str], also: Iterable[str] = ()) -> dict[str, str]:
    """Return the part of `env` that a child may see: the general names, LC_*, and those in `also`."""
    names = PASSED_ON | set(also)
    return {key: value for key, value in env.items() if key in names or key.startswith("LC_")}


def variables(words: Mapping[str, str]) -> dict[str, str]:
    """Return libpq parameters as PG* variables, those that have one; never a secret."""
    return {_VARIABLE[word]: value for word, value in words.items() if word in _VARIABLE}


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a libpq program reaches a database: `--dbname=conninfo`, with this environment and these descriptors.

    `hide` holds the secrets that no message may repeat.
    """

    conninfo: str
    env: Mapping[str, str]
    pass_fds: tuple[int, ...] = ()
    hide: tuple[str, ...] = ()


@contextlib.contextmanager
def access(words: Mapping[str, str], env: Mapping[str, str], encoding: str = "UTF8") -> Iterator[Access]:
    """Yield what a libpq program needs for a connection's parameters; the password file is removed at the end.

    PGPASSWORD of `env` is also moved out of the child's environment into the password file.
    """
    seen = {key: value for key, value in env.items() if key.startswith("PG") and key != "PGPASSWORD"}
    seen |= variables(words)
    rest = {word: value for word, value in words.items() if word not in _VARIABLE and word not in _SECRET}
    # planrun's arguments are UTF-8; with LATIN1 from a role, a database or PGCLIENTENCODING, pg_dump finds no table
    # "Größe".
    rest["client_encoding"] = encoding
    secret = words.get("password") or env.get("PGPASSWORD", "")
    conninfo = " ".join(f"{word}={_quote(value)}" for word, value in rest.items())
    with _passfile(secret) as (path, fds):
        own = {"PGPASSFILE": path} if path else {}
        # Messages in English, because hints are chosen by their words.
        yield Access(
            conninfo=conninfo,
            env=environment(env) | seen | own | {"LC_ALL": "C"},
            pass_fds=fds,
            hide=(secret,) if secret else (),
        )


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextlib.contextmanager
def _passfile(secret: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if not secret:
        yield "", ()
        return
    line = "*:*:*:*:" + secret.replace("\\", "\\\\").replace(":", "\\:") + "\n"
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        fd = os.memfd_create("planrun", 0)
        try:
            os.fchmod(fd, 0o600)  # libpq ignores a file that others may read, and a memfd is created with mode 0777
            os.write(fd, line.encode())
            yield f"/proc/self/fd/{fd}", (fd,)
        finally:
            os.close(fd)
        return
    # mkstemp creates it with mode 0600
    with tempfile.NamedTemporaryFile("w", prefix="planrun-", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        yield file.name, ()


# ------------------------------------------------------------------ a running child


class Child:
    """A running program, for use in a `with`; leaving the block kills it if it still runs.

    argv: program and arguments. env: the whole environment. cancel: stops the child when cancelled. cwd: its folder.
    feed: give it a pipe as stdin (`write`), else /dev/null. tell: called with each line of its messages.
    hide: secrets that errors must not repeat. terminal: a descriptor for its input, output and messages, which the
    caller reads. Files that it creates are private (umask 077).
    """

    def __init__(
        self,
        argv: Iterable[str],
        *,
        env: Mapping[str, str],
        cancel: Cancel,
        cwd: str | None = None,
        pass_fds: tuple[int, ...] = (),
        hide: tuple[str, ...] = (),
        feed: bool = False,
        emit: Callable[[str], object] | None = None,
        terminal: int | None = None,
    ) -> None:
        self.argv, self.program = tuple(argv), Path(next(iter(argv))).name
        self._env, self._cwd, self._fds, self._hide = env, cwd, pass_fds, hide
        self._feed, self._tell, self._cancel, self._terminal = feed, emit, cancel, terminal
        self._messages = Tail(KEPT)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._cancel.check()
        self._leader = self._start_leader()
        try:
            self._process = self._start_program()
        except BaseException:
            self._end_leader()
            raise
        self._write_to_leader(self._process.pid)
        self._reader = threading.Thread(target=self._collect, name=f"{self.program}-messages", daemon=True)
        self._reader.start()
        try:
            self._stack.enter_context(self._cancel.on_cancel(self.stop))
        except BaseException:
            self._close()
            raise
        return self

    def _start_leader(self) -> subprocess.Popen[bytes]:
        """Start the leader of the process group. It reads a pipe that only planrun holds; the system closes it when
        planrun ends.

        The child starts in that group, so a SIGKILL of planrun at no moment leaves the child or its children
        behind (a signal on the death of the parent reaches the child alone, and Linux only).
        """
        try:
            return subprocess.Popen(
                ("/bin/sh", "-c", GROUP_LEADER),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(self._env),
                cwd="/",
                process_group=0,
            )
        except OSError as exc:
            raise TargetError(f"cannot start {self.program}: {exc.strerror}", where="/bin/sh", code="PR0902") from exc

    def _write_to_leader(self, word: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(_there(self._leader.stdin).fileno(), f"{word}\n".encode())

    def _end_leader(self) -> None:
        self._write_to_leader("done")
        _there(self._leader.stdin).close()
        self._leader.wait()

    def _start_program(self) -> subprocess.Popen[bytes]:
        stdin, stdout, stderr = self._ends()
        try:
            return subprocess.Popen(
                (_find_program(self.argv[0], self._env), *self.argv[1:]),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=dict(self._env),
                cwd=self._cwd,
                pass_fds=self._fds,
                process_group=self._leader.pid,
                umask=0o077,
            )
        except OSError as exc:
            raise TargetError(
                f"cannot start {self.program}: {exc.strerror}", where=str(exc.filename or ""), code="PR0902"
            ) from exc

    def _ends(self) -> tuple[int, int, int]:
        if self._terminal is not None:
            return self._terminal, self._terminal, self._terminal
        return subprocess.PIPE if self._feed else subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        self._close()

    def _close(self) -> None:
        if self._process.poll() is None:
            self.send(signal.SIGKILL)
        self._process.wait()
        self._reader.join(GRACE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._end_leader()

    def _collect(self) -> None:
        """Read the messages to the end and keep the last of them: a full pipe would block the child."""
        if self._process.stderr is None:
            return
        with self._process.stderr as pipe:
            self._messages.drain(pipe, self._report_line)

    def _report_line(self, line: bytes) -> None:
        if self._tell:
            self._tell(plain(self.clean(line)).rstrip("\n"))

    def clean(self, data: bytes) -> str:
        """Return the text without secrets."""
        text = data.decode(errors="replace")
        for secret in self._hide:
            text = text.replace(secret, "***")
        return text

    def stop(self) -> None:
        """Ask the child and all its children to end, and kill them after GRACE seconds. Returns at once."""
        self.send(signal.SIGTERM)
        last = threading.Timer(GRACE, self.send, (signal.SIGKILL,))
        last.daemon = True
        last.start()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; its output may not be read yet."""
        return self._process.poll() is not None

    def send(self, number: int) -> None:
        """Send a signal to the child and its children; do nothing if it has ended."""
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._leader.pid, number)

    def chunks(self) -> Iterator[bytes]:
        """Yield the output of the child, then check how it ended. Raises TargetError if it failed."""
        while data := self.output.read1(CHUNK):
            yield data
        self.finish()

    @property
    def output(self) -> io.BufferedReader:
        """The output of the child; `chunks` reads it and checks the end."""
        return cast(io.BufferedReader, _there(self._process.stdout))

    def write(self, data: bytes) -> None:
        """Write bytes to the child's input. Raises TargetError with the child's message if it has stopped reading."""
        pipe = _there(self._process.stdin)
        try:
            pipe.write(data)
            pipe.flush()
        except BrokenPipeError:
            self.finish()
            raise TargetError(f"{self.program} ended before it had read everything", code="PR0905") from None

    def end_input(self) -> None:
        """Close the child's input."""
        with contextlib.suppress(BrokenPipeError):
            _there(self._process.stdin).close()

    def finish(self, allowed: tuple[int, ...] = (0,), said: str = "") -> int:
        """Close its input, wait for the end and return the exit code. Raises TargetError for an exit code that is not
        allowed.

        said: its output on its terminal, if it has one.
        """
        if self._process.stdin:
            self.end_input()
        code = self._process.wait()
        self._reader.join(GRACE)
        self._cancel.check()
        if code not in allowed:
            raise self._failure(code, said or self.messages)
        return code

    @property
    def messages(self) -> str:
        """The last 64 kB that the child wrote to stderr, without secrets and without what controls a terminal."""
        return plain(self.clean(self._messages.data))

    def _failure(self, code: int, text: str) -> TargetError:
        state = "".join(found[2] for found in list(_STATE.finditer(text))[-1:])
        text = _STATE.sub(r"\1", text.strip())
        lines = [line for line in text.splitlines() if not _ROW.match(line)]
        said = "\n    ".join(lines[-5:])
        ended = f"{self.program} {_end_text(code)}" + (f":\n    {said}" if said else "")
        if any(words in text for words in _NOT_LET_IN) and "server closed" not in text:
            return ConnectError(ended, hint="try: planrun doctor", category="connection", code="PR0401")
        for words, category, hint in _MEANING:
            if words in text:
                return TargetError(ended, hint=hint, category=category, sqlstate=state, code="PR0901")
        return TargetError(ended, hint=_KILLED.get(-code, ""), sqlstate=state, code="PR0901")


def _end_text(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    too_big = " (the file size limit, ulimit -f)" if name == "SIGXFSZ" else ""
    return f"was killed by {name}{too_big}"


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _find_program(program: str, env: Mapping[str, str]) -> str:
    found = shutil.which(program, path=env.get("PATH"))
    if not found:
        raise TargetError(
            f"program {program} was not found or cannot be run", hint="install it or correct PATH", code="PR0902"
        )
    return found


# ------------------------------------------------------------------ whole calls


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a program ended, and the end of its output."""

    code: int
    output: str
    messages: str


def run(
    argv: Iterable[str],
    *,
    env: Mapping[str, str],
    cancel: Cancel,
    cwd: str | None = None,
    on_line: Callable[[str], object] | None = None,
) -> str:
    """Run a program to its end and return the last 64 kB of its output; `on_line` is called with each line at once.
    Both are without what controls a terminal.

    Raises TargetError if it fails, and the reason if cancelled.
    """
    return plain(call(argv, env=env, cancel=cancel, cwd=cwd, emit=on_line, keep=KEPT).output)


def call(
    argv: Iterable[str],
    *,
    env: Mapping[str, str],
    cancel: Cancel,
    cwd: str | None = None,
    pass_fds: tuple[int, ...] = (),
    hide: tuple[str, ...] = (),
    emit: Callable[[str], object] | None = None,
    source: Iterable[bytes] = (),
    allowed: tuple[int, ...] = (0,),
    keep: int = 1 << 20,
) -> Done:
    """Run a program to its end with `source` as its input, and return the last `keep` bytes of its output.

    `tell` is called with each line of output and messages at once. Raises TargetError if it fails, and the reason if
    cancelled.
    """
    kept, feeding = Tail(keep), source != ()
    with Child(
        tuple(argv), env=env, cancel=cancel, cwd=cwd, pass_fds=pass_fds, hide=hide, feed=feeding, emit=emit
    ) as child:
        reader = threading.Thread(
            target=kept.drain, args=(child.output, child._report_line), name=child.program, daemon=True
        )
        reader.start()
        try:
            for data in source:
                child.write(data)
            code = child.finish(allowed)
        finally:
            reader.join(GRACE)
    return Done(code=code, output=child.clean(kept.data), messages=child.messages)


class Tail:
    """The last `keep` bytes of a stream, in whole lines."""

    def __init__(self, keep: int) -> None:
        self._keep, self._size, self._lines = keep, 0, deque[bytes]()

    def drain(self, pipe: IO[bytes], emit: Callable[[bytes], object]) -> None:
        for line in iter(lambda: pipe.readline(CHUNK), b""):
            self.add(line)
            emit(line)

    def add(self, line: bytes) -> None:
        """Add a line, and drop the oldest lines beyond the limit."""
        self._lines.append(line)
        self._size += len(line)
        while self._size > self._keep and len(self._lines) > 1:
            self._size -= len(self._lines.popleft())

    @property
    def data(self) -> bytes:
        return b"".join(self._lines)
