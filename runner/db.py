"""The door to PostgreSQL: connections by name, safe settings, and psycopg's errors made ours.

Sources: PostgreSQL docs 34.1.2 (connection words), 34.15 (environment), 20.11 (client defaults).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import conninfo, pq
from psycopg.rows import dict_row

from runner.cancel import Cancel
from runner.errors import ConnectError, Mark, TargetError

CATEGORIES = {
    "55P03": "lock",
    "40P01": "deadlock",
    "40001": "deadlock",
    "57014": "timeout",
    "57P01": "connection",
    "57P02": "connection",
    "57P03": "connection",
}

# What to do, where the server does not say it; NN000 stands for a class.
_HINTS = {
    "55P03": "another session holds the lock: look at pg_stat_activity and pg_locks, then run again",
    "25006": "a standby, or default_transaction_read_only is on for this role or database: connect to the primary",
    "42501": "ask the owner for the privilege, or connect as another role",
    "53100": "free space on the server's disk, then run again",
    "53300": "all connections of the server or the role are taken: look at pg_stat_activity, then run again",
    "57014": "somebody cancelled it, or a statement_timeout of the role or the database ended it: run again",
    "57P01": "the server ended the session: see its log, then run again",
}

# A server that hangs must not hold us for ever; tcp_user_timeout alone does not notice an idle black hole,
# keepalives do after idle + interval * count = 30 s (tried with dropped packets).
_DEADLINES = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}

# search_path is emptied so that no object of a user's schema can stand in for a catalog function (CVE-2018-1058);
# the others make a value's text the same on every server, which content checksums rest on.
VALUE_SETTINGS = {
    "search_path": "",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

# standard_conforming_strings: the syntax check read the SQL of the plan with it on.
_LIMITS = {
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "0",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}

# What a role or a database may have set to end sessions that wait, or work that takes long: the run's lock waits for
# hours, and so does the snapshot of a backup. Not every version knows both.
_NO_END = ["idle_session_timeout", "transaction_timeout"]
_NO_TIMEOUT = "select pg_catalog.set_config(name, '0', false) from pg_catalog.pg_settings where name = any (%s)"


class Connections:
    """Open connections by the names a plan uses.

    words: connection name -> libpq words, as the plan declares them. env: the process environment.
    `name` "" is the default: `target` when declared, else the only one declared, else DATABASE_URL and PG*.
    """

    def __init__(
        self,
        words: Mapping[str, Mapping[str, str]],
        env: Mapping[str, str],
        *,
        application: str = "planrun",
        cancel: Cancel | None = None,
    ) -> None:
        self._declared, self._env, self._application = words, env, application
        self.cancel = cancel or Cancel()

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def name_as(self, application: str) -> None:
        """Give the connections opened from now on this application_name."""
        self._application = application

    def default(self) -> str:
        if "target" in self._declared:
            return "target"
        return next(iter(self._declared)) if len(self._declared) == 1 else ""

    def words(self, name: str = "") -> dict[str, str]:
        """Return libpq words for a connection, the password among them when it came by URL.

        Raises ConnectError when an environment URL cannot be read (its text is not repeated: it may hold a password).
        """
        name = name or self.default()
        words = dict(self._declared.get(name, {}))
        source = f"PLANRUN_{name.upper()}_URL" if name else "DATABASE_URL"
        if not self._env.get(source) and not words:
            source = "DATABASE_URL"
        if url := self._env.get(source, ""):
            words = _parsed(url, source)  # all of it: a `hostaddr` of the plan would lead to another server
        return _DEADLINES | words | {"application_name": self._application[:63]}

    def open(
        self, name: str = "", *, read_only: bool = False, own_path: bool = True, **settings: str
    ) -> psycopg.Connection[dict[str, Any]]:
        """Return an autocommit connection that yields rows as dicts. Raises ConnectError.

        `own_path` empties search_path and fixes how values are written, for our own queries; without it the
        session is as the role has it, for the SQL that a user wrote.
        """
        words = self.words(name)
        try:
            conn = psycopg.Connection[dict[str, Any]].connect(
                conninfo.make_conninfo("", **words),
                autocommit=True,
                row_factory=dict_row,
                prepare_threshold=None,
            )
        except psycopg.Error as exc:
            raise _connect_error(exc, words, self._env.get("PGHOST", "")) from None
        chosen = _LIMITS | (VALUE_SETTINGS if own_path else {}) | settings
        if read_only:
            chosen["default_transaction_read_only"] = "on"
        try:
            with told(f"connection {name}" if name else None):
                _set(conn, chosen)
                conn.execute(_NO_TIMEOUT, (_NO_END if own_path else _NO_END[:1],))
        except BaseException:
            conn.close()
            raise
        return conn


def set_limits(conn: psycopg.Connection[Any]) -> None:
    """Put back the limits that `discard all` took away: nothing of ours waits for a lock without end."""
    _set(conn, _LIMITS)
    conn.execute(_NO_TIMEOUT, (_NO_END[:1],))


def _set(conn: psycopg.Connection[Any], settings: Mapping[str, str]) -> None:
    calls = ", ".join(["pg_catalog.set_config(%s, %s, false)"] * len(settings))
    conn.execute(f"select {calls}", [part for item in settings.items() for part in item])


def _parsed(url: str, source: str) -> dict[str, str]:
    try:
        words = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except psycopg.Error:
        raise ConnectError(
            f"{source} is not a connection URL or a list of libpq words",
            hint=f"for example {source}=postgresql://user@host/dbname, with the password in ~/.pgpass",
        ) from None
    if _torn(url, words):
        raise ConnectError(
            f"{source} has an @ or a / that is not written as %40 or %2F, so it cannot be told where the password ends",
            hint="percent-encode the password, or take it out of the URL and put it in ~/.pgpass",
        )
    return words


def _torn(url: str, words: Mapping[str, str]) -> bool:
    """Say whether a part of the password was taken for the host or the database, whose names messages repeat."""
    ats = url.partition("://")[2].count("@")
    return ats > 1 or (ats == 1 and "user" not in words and "password" not in words)


_NOISE = re.compile(
    r"\A(connection failed|connection is bad): |\s*Is the server running (on that host|locally) and accepting [^\n]*"
)


def _connect_error(exc: psycopg.Error, words: Mapping[str, str], host: str) -> ConnectError:
    text = _NOISE.sub("", redacted(str(exc).strip(), words))
    text = text.replace(
        "resolve host None", f"resolve host {host!r}"
    )  # psycopg does not look at PGHOST for its message
    where = words.get("service") and f"service {words['service']}"
    return ConnectError(f"cannot connect: {text}", where=where or None, hint=_connect_hint(text), category="connection")


def _connect_hint(text: str) -> str:
    if "password" in text or "authentication" in text:
        return "put the password in ~/.pgpass (mode 0600) or PGPASSFILE, then: planrun doctor"
    if "does not exist" in text:
        return "check the name: psql -l, then: planrun doctor"
    if "definition of service" in text:
        return "check ~/.pg_service.conf or PGSERVICEFILE, then: planrun doctor"
    return "check host, port and that the server runs: pg_isready, then: planrun doctor"


def redacted(text: str, words: Mapping[str, str]) -> str:
    """Return the text without the password, should libpq or a server have quoted it."""
    secret = words.get("password", "")
    return text.replace(secret, "***") if secret else re.sub(r"(://[^:/@\s]+):[^@/\s]+@", r"\1:***@", text)


@contextlib.contextmanager
def told(where: str | None = None) -> Iterator[None]:
    """Turn psycopg's errors into TargetErrors that say what, where, why and what to do."""
    try:
        yield
    except psycopg.Error as exc:
        raise target_error(exc, where) from exc


def target_error(exc: psycopg.Error, where: Mark | str | None = None) -> TargetError:
    """Return the TargetError of a psycopg error; `category` says what a retry may do about it."""
    diag = exc.diag
    state = exc.sqlstate or ""
    lost = isinstance(exc, psycopg.OperationalError) and (not state or state.startswith("08"))
    message = diag.message_primary or str(exc).strip().splitlines()[0] if str(exc).strip() else "connection lost"
    if diag.message_detail:
        message += f" ({diag.message_detail})"
    hint = diag.message_hint or _HINTS.get(state, "")
    if lost:
        hint = hint or "the connection was cut: planrun doctor, then run again with --resume"
    return TargetError(
        f"{message} [{state}]" if state else f"connection lost: {message}",
        where=where,
        hint=hint,
        category="connection" if lost else CATEGORIES.get(state, ""),
        sqlstate=state,
    )


@contextlib.contextmanager
def cancellable(conn: psycopg.Connection[Any], cancel: Cancel) -> Iterator[None]:
    """Cancel what runs when asked to stop, and raise the reason instead of PostgreSQL's 57014.

    Asked again until the block is left: a request that comes between two statements stops neither of them.
    One that is on its way is waited for: the connection's next statement may be another's.
    """
    left, asking = threading.Event(), threading.Lock()

    def stop() -> None:
        while not left.is_set():
            with asking, contextlib.suppress(psycopg.Error):
                if not left.is_set():
                    conn.cancel_safe(timeout=5)
            left.wait(0.2)

    with cancel.on_cancel(stop):
        try:
            yield
        except (psycopg.Error, TargetError):
            cancel.check()
            raise
        finally:
            left.set()
            with asking:
                pass
    cancel.check()


def in_transaction(conn: psycopg.Connection[Any]) -> bool:
    return conn.info.transaction_status != pq.TransactionStatus.IDLE
