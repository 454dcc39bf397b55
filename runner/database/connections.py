"""Open connections to PostgreSQL: by name, with safe settings, and with psycopg's errors turned into planrun's.

Sources: PostgreSQL docs 34.1.2 (connection parameters), 34.15 (environment), 20.11 (client defaults).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg import conninfo, pq
from psycopg.rows import dict_row

from runner import sqlfile
from runner.cancel import Cancel
from runner.database import database_line
from runner.database.deadlines import ALLOWANCE, DeadlineConnection, ResponseDeadline
from runner.errors import ConnectError, Mark, TargetError, UsageError
from runner.sqltext import join_statements, literal, literals
from runner.units import duration
from runner.words import close_matches

CATEGORIES = {
    "55P03": "lock",
    "40P01": "deadlock",
    "40001": "deadlock",
    "57014": "timeout",
    "25P03": "connection",
    "57P01": "connection",
    "57P02": "connection",
    "57P03": "connection",
}
_CODES = {"55P03": "PR0405", "40P01": "PR0406", "40001": "PR0406", "57014": "PR0407", "42501": "PR0411"}
"""The error codes (docs/errors.md) of SQLSTATEs that have an entry of their own; that of the others is PR0404."""

# What to do, if the server does not say it; NN000 stands for a class.
_LOST = "planrun doctor shows whether the server answers; then run again"
_HINTS = {
    "55P03": "another connection holds the lock: look at pg_stat_activity and pg_locks, then run again",
    "25006": "a standby, or default_transaction_read_only is on for this role or database: connect to the primary",
    "42501": "ask the owner for the privilege, or connect as another role",
    "53100": "free space on the server's disk, then run again",
    "53300": "all connections of the server or the role are taken: look at pg_stat_activity, then run again",
    "57014": "somebody cancelled it, or a statement_timeout of the role or the database ended it: run again",
    "57P01": "the server ended the connection: see its log, then run again",
    "25P03": "planrun was stopped during a transaction, so the server released its locks: run again",
}

# A server that hangs must not block planrun for ever; tcp_user_timeout alone does not notice an idle dead connection,
# keepalives do after idle + interval * count = 30 s (tried with dropped packets).
_DEADLINES = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}

_VARIABLES = {"connect_timeout": "PGCONNECT_TIMEOUT"}
"""The environment overrides planrun's defaults."""

ANSWER_TIMEOUT = "PLANRUN_ANSWER_TIMEOUT"
"""The variable that limits how long a server may take to answer."""
_ANSWER = 60.0

# search_path is empty so that no object of a user's schema can replace a catalog function (CVE-2018-1058);
# the others make the text of a value the same on every server, which content checksums need.
VALUE_SETTINGS = {
    "search_path": "",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

# planrun's catalog queries are large and return few rows: with 500 tables one took 10 to 13 s with JIT, 0.3 s without.
# quote_all_identifiers would change the texts that are compared and run again.
_OURS = VALUE_SETTINGS | {"jit": "off", "quote_all_identifiers": "off"}

# standard_conforming_strings: the syntax check assumes that it is on. tcp_keepalives_*: with the default
# settings, a server keeps the locks of a client whose machine has vanished for two hours and more.
_LIMITS = {
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}

# Settings of a role or database that end idle connections or long work: the connection of the run's lock is idle for
# hours, and so is that of a backup's snapshot. Not every version knows all of them.
_NO_END = ["idle_session_timeout", "transaction_timeout"]

# The server ends a statement whose client is gone, and releases its locks. Not every server platform can check.
_LOOK_FOR_US = sqlfile.read("server/client_check.sql")

# If an owner replaces a table by a view between `look` and the read, the owner's functions would run with planrun's
# rights (CVE-2024-7348 of pg_dump). Minor releases before August 2024 do not know the setting.
_TABLES_ONLY = sqlfile.read("server/tables_only.sql")


OWN_VARIABLE = re.compile(r"PLANRUN_([A-Z0-9_]+)_URL")


class Connections:
    """Opens connections by the names that a plan uses.

    words: connection name -> libpq parameters, as the plan declares them. env: the process environment.
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
        self.learn: Callable[..., object] = _forget
        self._places: dict[str, database_line.Place] = {}
        self.answer = answer_timeout(env)
        self._response_deadlines: dict[str, ResponseDeadline] = {}

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def name_as(self, application: str) -> None:
        """Set the application_name of connections that are opened from now on."""
        self._application = application

    def response_deadline(self, name: str = "") -> ResponseDeadline:
        """Return the shared state of whether this connection's server answers."""
        return self._response_deadlines.setdefault(
            name or self.default(), ResponseDeadline(lambda: self.cancel.reason is not None)
        )

    def default(self) -> str:
        if "target" in self._declared:
            return "target"
        return next(iter(self._declared)) if len(self._declared) == 1 else ""

    def words(self, name: str = "") -> dict[str, str]:
        """Return the libpq parameters of a connection, with the password if it came from a URL.

        Raises ConnectError if a URL in the environment cannot be parsed (its text is not repeated, because it may
        contain a password), or if the plan would send the environment's password to another host.
        """
        name = name or self.default()
        words, source = dict(self._declared.get(name, {})), self._variable(name)
        if source:
            # all of them: a `hostaddr` of the plan would lead to another server
            words = parse_url(self._env[source], source)
        else:
            _refuse_unknown(words, name)
            _refuse_elsewhere(words, self._env, name)
        deadlines = {word: value for word, value in _DEADLINES.items() if not self._env.get(_VARIABLES.get(word, ""))}
        return _with_user_timeout(deadlines | words) | {"application_name": self._application[:63]}

    def _variable(self, name: str) -> str:
        """Return the variable that defines the connection, "" if the plan or libpq's own variables do."""
        own = f"PLANRUN_{name.upper()}_URL" if name else "DATABASE_URL"
        if self._env.get(own):
            return own
        return "DATABASE_URL" if not self._declared.get(name) and self._env.get("DATABASE_URL") else ""

    def line(self, name: str = "") -> str:
        """Return `target: prod at db1:5432 as app, from PLANRUN_TARGET_URL`. Raises ConnectError as `words` does."""
        name = name or self.default()
        variable = self._variable(name)
        words = parse_url(self._env[variable], variable) if variable else dict(self._declared.get(name, {}))
        place = self._places.get(name) or database_line.expect(words, self._env)
        out = plain_url(self._env[variable])[1] if variable else ()
        return database_line.write(name, place, words, database_line.origin(words, self._env, variable, out))

    def database(self, name: str = "") -> str:
        """Return the name of the database, or of the service that leads to it if only a connection could tell. Raises
        ConnectError as `words` does."""
        name = name or self.default()
        variable = self._variable(name)
        words = parse_url(self._env[variable], variable) if variable else dict(self._declared.get(name, {}))
        place = self._places.get(name) or database_line.expect(words, self._env)
        return place.database if place else words.get("service", "") or self._env.get("PGSERVICE", "")

    def lines(self) -> tuple[str, ...]:
        """Return the line of every connection, the target's first; the reason for a connection that cannot be
        parsed."""
        names = sorted(self._declared, key=lambda name: name != self.default()) or [""]
        return tuple(map(self._line_or_reason, names))

    def _line_or_reason(self, name: str) -> str:
        try:
            return self.line(name)
        except ConnectError as exc:
            return f"{name or 'target'}: {exc.message}"

    def refuse_unused(self) -> None:
        """Raise ConnectError for a variable PLANRUN_X_URL that is set although the plan does not read it."""
        for variable in sorted(self._env):
            match = OWN_VARIABLE.fullmatch(variable)
            if not match or not self._env[variable] or match[1].lower() in map(str.lower, self._declared):
                continue
            name = match[1].lower()
            meant = next(iter(close_matches(name, map(str.lower, self._declared))), "")
            same = self._env[variable] == self._env.get("DATABASE_URL")
            if meant or (name == "target" and not same):
                raise ConnectError(
                    f"{variable} is set, but this plan has no connection {name}"
                    + (f"; there is {meant}" if meant else ""),
                    hint=f"unset {variable}; "
                    + (
                        f"set PLANRUN_{meant.upper()}_URL"
                        if meant
                        else "set DATABASE_URL, or write in the plan: connections: {target: {}}"
                    ),
                    code="PR0402",
                )

    def open(
        self, name: str = "", *, read_only: bool = False, own_path: bool = True, **settings: str
    ) -> DeadlineConnection:
        """Return an autocommit connection that yields rows as dicts. Raises ConnectError.

        `own_path` empties search_path and fixes the output format of values, for planrun's own queries; without it the
        connection keeps the role's settings, for the SQL that a user wrote. With `read_only` and `own_path`, no view or
        foreign table of a user can be read. Statements must be answered within their statement_timeout; if that is
        "0" or the role's, `cancellable` statements may take any time.
        """
        met = self.response_deadline(name).met
        conn = self._connect(name)
        ours = {**_OURS, "statement_timeout": f"{self.answer:g}s"}
        chosen = _LIMITS | (ours if own_path else {}) | settings
        if read_only:
            chosen["default_transaction_read_only"] = "on"
        try:
            with translate_errors(f"connection {name}" if name else None):
                _set(conn, chosen, own_path=own_path, tables_only=read_only and own_path)
        except TargetError as exc:
            conn.close()
            if exc.category == "connection" and not met:
                raise ConnectError(
                    f"cannot connect: {exc.message}", hint=exc.hint, category=exc.category, code="PR0401"
                ) from exc
            raise
        except BaseException:
            conn.close()
            raise
        limit = chosen.get("statement_timeout", "0")
        given = 0.0 if limit == "0" else duration(limit)
        conn.set_deadline(self.response_deadline(name), (given or self.answer) * ALLOWANCE, always=given > 0)
        return conn

    def _against_process(self, words: Mapping[str, str]) -> dict[str, str]:
        """Return the words, and those that keep libpq from what the process's variables say and an own `env` does not.

        libpq reads the variables of the process. Where `env` has a PGHOST of its own, a PGHOSTADDR of the process would
        lead to another server, and a service of PGSERVICE gives every word that is not said (libpq, parseServiceFile).
        """
        if not self._env.get("PGHOST"):
            return dict(words)
        every = os.environ.get("PGSERVICE", "") != self._env.get("PGSERVICE", "")
        ours = {
            word: self._env.get(variable) or _INERT.get(word, "")
            for word, variable in _OF_PROCESS.items()
            if word not in words and (every or os.environ.get(variable, "") != self._env.get(variable, ""))
        }
        return ours | dict(words)

    def _connect(self, name: str) -> DeadlineConnection:
        words, response_deadline = self.words(name), self.response_deadline(name)
        if response_deadline.hopeless:
            raise TargetError("the server no longer answers", hint=_LOST, category="connection", code="PR0403")
        try:
            conn = DeadlineConnection.connect(
                conninfo.make_conninfo("", **self._against_process(words)),
                autocommit=True,
                row_factory=dict_row,
                prepare_threshold=None,
            )
        except psycopg.Error as exc:
            response_deadline.silent = isinstance(exc, psycopg.errors.ConnectionTimeout)
            if response_deadline.silent and response_deadline.met:
                raise TargetError(
                    f"the server no longer answers: {exc}", hint=_LOST, category="connection", code="PR0403"
                ) from None
            if not response_deadline.silent:
                response_deadline.note_answer()  # a refusal is an answer
            raise self._connect_error(exc, words, name) from None
        response_deadline.note_answer()
        info = conn.info
        self._places[name or self.default()] = database_line.Place(info.dbname, info.host, str(info.port), info.user)
        self.learn(info.password)  # wherever libpq found it: in a service, in ~/.pgpass
        conn.set_deadline(response_deadline, self.answer * ALLOWANCE, always=True)
        return conn

    def _connect_error(self, exc: psycopg.Error, words: Mapping[str, str], name: str) -> ConnectError:
        from runner.database.connect_hints import connect_hint  # only a failure needs it

        text = _NOISE.sub("", redact_password(str(exc).strip(), words))
        # psycopg does not look at PGHOST for its message
        text = text.replace("resolve host None", f"resolve host {self._env.get('PGHOST', '')!r}")
        hint = connect_hint(text, words, self._env, name or self.default())
        where = self._line_or_reason(name)
        return ConnectError(f"cannot connect: {text}", where=where, hint=hint, category="connection", code="PR0401")


_INERT = {"sslmode": "prefer", "gssencmode": "prefer", "channel_binding": "prefer", "target_session_attrs": "any"}
"""What libpq does where nothing is said; the other words below say nothing when they are empty."""
_OF_PROCESS = {
    **{"hostaddr": "PGHOSTADDR", "password": "PGPASSWORD", "options": "PGOPTIONS", "sslmode": "PGSSLMODE"},
    **{"sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT", "sslcrl": "PGSSLCRL"},
    **{"gssencmode": "PGGSSENCMODE", "channel_binding": "PGCHANNELBINDING", "requirepeer": "PGREQUIREPEER"},
    **{"target_session_attrs": "PGTARGETSESSIONATTRS", "host": "PGHOST", "port": "PGPORT", "user": "PGUSER"},
    **{"dbname": "PGDATABASE", "passfile": "PGPASSFILE"},
}


def _forget(*words: str) -> None:
    """Forget secrets: used where nothing is reported."""


def answer_timeout(env: Mapping[str, str]) -> float:
    """Return the seconds in which a server must answer. Raises UsageError if the variable has another value."""
    text = env.get(ANSWER_TIMEOUT, "")
    hint = f"for example {ANSWER_TIMEOUT}=60s"
    try:
        seconds = duration(float(text) if text.isdigit() else text) if text else _ANSWER
    except ValueError as exc:
        raise UsageError(f"{ANSWER_TIMEOUT}: {exc}", hint=hint, code="PR0415") from None
    if not 1 <= seconds <= 86400:
        raise UsageError(f"{ANSWER_TIMEOUT} is not between a second and a day", hint=hint, code="PR0415")
    return seconds


def set_limits(conn: psycopg.Connection[Any], *, own_path: bool, **settings: str) -> None:
    """Restore the limits that `discard all` reset: no endless lock waits, and no search_path with users' schemas."""
    _set(conn, _LIMITS | (_OURS if own_path else {}) | settings, own_path=own_path, tables_only=False)


def _set(conn: psycopg.Connection[Any], settings: Mapping[str, str], *, own_path: bool, tables_only: bool) -> None:
    """Send all settings, including those that not every server knows, in one message, because a round trip may be
    slow."""
    calls = [f"pg_catalog.set_config({literal(name)}, {literal(value)}, false)" for name, value in settings.items()]
    no_timeout = sqlfile.fill("server/no_timeout.sql", names=literals(_NO_END if own_path else _NO_END[:1]))
    texts = [f"select {', '.join(calls)}", no_timeout, *([_TABLES_ONLY] if tables_only else []), _LOOK_FOR_US]
    conn.execute(join_statements(texts).encode())


def _refuse_unknown(words: Mapping[str, str], name: str) -> None:
    """Raise ConnectError if a parameter depends on an unset variable or param; commands that do not connect work
    without it."""
    if unknown := [f"{word}: {value}" for word, value in words.items() if "${" in value]:
        raise ConnectError(
            f"connection {name} needs {', '.join(unknown)}, which is not set",
            hint="set the variable, or give the param by --set",
            code="PR0402",
        )


def _refuse_elsewhere(words: Mapping[str, str], env: Mapping[str, str], name: str) -> None:
    """Raise ConnectError if settings of the environment for one host would be sent to another host that the plan
    names."""
    theirs = {host for word in ("host", "hostaddr") for host in words.get(word, "").split(",") if host}
    if not theirs:
        return
    own = {host for word in ("PGHOST", "PGHOSTADDR") for host in env.get(word, "").split(",") if host}
    if env.get("PGSERVICE") and "service" not in words:
        given = "PGSERVICE"
    elif env.get("PGPASSWORD") and own and not theirs <= own:
        given = "PGPASSWORD"
    else:
        return
    raise ConnectError(
        f"the plan names host {', '.join(sorted(theirs))}, and {given} of the environment is for another host",
        where=f"connection {name}" if name else None,
        hint=f"set PLANRUN_{(name or 'target').upper()}_URL if this host is right; otherwise unset {given}",
        code="PR0402",
    )


def _with_user_timeout(words: dict[str, str]) -> dict[str, str]:
    """Set tcp_user_timeout to the time of the keepalives: on Linux it takes precedence over their count."""
    try:
        idle, interval, count = (int(words[f"keepalives_{name}"]) for name in ("idle", "interval", "count"))
    except ValueError:
        return words  # libpq reports what is wrong with them
    return {"tcp_user_timeout": str(1000 * (idle + interval * count))} | words


_SCHEME = re.compile(r"\Apostgres(?:ql)?\+\w+://")
_ORMS = frozenset(
    {"schema", "pgbouncer", "connection_limit", "pool_timeout", "statement_cache_size", "socket_timeout", "sslaccept"}
    | {"pool", "pool_size", "prepared_statements", "encoding", "reaping_frequency", "checkout_timeout", "conn_max_age"}
    | {"max_pool_size", "min_pool_size", "prepared_statement_cache_size", "async_fallback", "uselibpqcompat"}
)
"""Parameters in URLs of Prisma, SQLAlchemy, Django, Rails and asyncpg that do not say where the database is."""


def plain_url(url: str) -> tuple[str, tuple[str, ...]]:
    """Return a URL that libpq can read, and the ORM parameters that were left out: a driver, settings of a pool.

    >>> plain_url("postgresql+psycopg2://h/d?schema=public&sslmode=require")
    ('postgresql://h/d?sslmode=require', ('schema',))
    """
    url = _SCHEME.sub("postgresql://", url)
    head, mark, query = url.partition("?")
    if "://" not in head or not mark:
        return url, ()
    parts = [(part.partition("=")[0], part) for part in query.split("&") if part]
    kept = "&".join(part for name, part in parts if name.lower() not in _ORMS)
    return head + (f"?{kept}" if kept else ""), tuple(name for name, _ in parts if name.lower() in _ORMS)


_UNKNOWN_WORD = re.compile(r"invalid URI query parameter: \"(\w+)\"|invalid connection option \"(\w+)\"")


def words_of_orms(url: str) -> str:
    """Return the part of a URL's query that only an ORM reads.

    >>> words_of_orms("postgresql://h/d?schema=public&sslmode=require")
    'schema=public'
    """
    query = url.partition("?")[2].split("&")
    return "&".join(part for part in query if part.partition("=")[0].lower() in _ORMS)


def parse_url(url: str, source: str) -> dict[str, str]:
    """Return the libpq parameters of a URL. Raises ConnectError, which names `source` and never repeats the URL."""
    url, _ = plain_url(url)
    try:
        words = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    except psycopg.Error as exc:
        unknown = _UNKNOWN_WORD.search(str(exc))
        word = f": libpq knows no parameter {unknown[1] or unknown[2]}" if unknown else ""
        jdbc = ": this is a URL of JDBC" if url.startswith("jdbc:") else ""
        raise ConnectError(
            f"{source} is not a connection URL or a list of libpq parameters{word or jdbc}",
            hint=f"for example {source}=postgresql://user@host/dbname, with the password in ~/.pgpass",
            code="PR0402",
        ) from None
    if _has_part_of_password_outside(url, words):
        raise ConnectError(
            f"{source} contains an @ or a / that is not written as %40 or %2F, so planrun cannot tell where the "
            "password ends",
            hint="percent-encode the password, or remove it from the URL and put it in ~/.pgpass",
            code="PR0402",
        )
    return words


def _has_part_of_password_outside(url: str, words: Mapping[str, str]) -> bool:
    """Return whether a part of the password was parsed as the host or database, whose names messages repeat."""
    ats = url.partition("://")[2].count("@")
    return ats > 1 or (ats == 1 and "user" not in words and "password" not in words)


_NOISE = re.compile(
    r"\A(connection failed|connection is bad): |\s*Is the server running (on that host|locally) and accepting [^\n]*"
)


def redact_password(text: str, words: Mapping[str, str]) -> str:
    """Return the text without the password, in case libpq or a server has quoted it."""
    secret = words.get("password", "")
    return text.replace(secret, "***") if secret else re.sub(r"(://[^:/@\s]+):[^@/\s]+@", r"\1:***@", text)


@contextlib.contextmanager
def translate_errors(where: str | None = None) -> Iterator[None]:
    """Turn psycopg's errors into TargetErrors with the action, the place, the reason and what to do."""
    try:
        yield
    except psycopg.Error as exc:
        raise target_error(exc, where) from exc


_OF_DATA = ("22", "23")
"""Classes of SQLSTATE whose errors contain values of rows (PostgreSQL docs, appendix A)."""
_VALUE = re.compile(r': ".*|(?<=value) ".*"(?= is out of range)', re.DOTALL)
"""Matches the value in: invalid input syntax for type integer: "x"; value "99" is out of range."""


def target_error(exc: psycopg.Error, where: Mark | str | None = None, *, detail: bool = False) -> TargetError:
    """Return the TargetError for a psycopg error; `category` decides whether a retry makes sense.

    detail: keep the values of rows that an error about data contains.
    """
    diag = exc.diag
    state = exc.sqlstate or ""
    lost = isinstance(exc, psycopg.OperationalError) and (not state or state.startswith("08"))
    message = diag.message_primary or str(exc).strip().splitlines()[0] if str(exc).strip() else "connection lost"
    holds_data = state[:2] in _OF_DATA and not detail
    if holds_data:
        message = _VALUE.sub("", message)
    elif diag.message_detail:
        message += f" ({diag.message_detail})"
    hint = diag.message_hint or _grant_hint(state, message) or _HINTS.get(state, "")
    if lost:
        hint = hint or _LOST
    return TargetError(
        f"{message} [{state}]" if state else f"connection lost: {message}",
        where=where,
        hint=hint,
        category="connection" if lost else CATEGORIES.get(state, ""),
        sqlstate=state,
        code="PR0403" if lost else _CODES.get(state, "PR0404"),
    )


_DENIED = re.compile(r"permission denied for (database|schema|table|view|materialized view|sequence|function) (.+)")
_GRANTS = {
    "database": "connect, create",
    "schema": "usage (and create, where something is made)",
    "sequence": "select (and update, where it is moved)",
    "function": "execute",
}


WHO_CONNECTS = "the role that connects (planrun doctor names it)"
"""The role in a hint about grants; for statements that run as another role, that role's name replaces it."""


def _grant_hint(state: str, message: str) -> str:
    """Return the GRANT for the owner of an object, if the server only says that permission is denied."""
    found = _DENIED.match(message) if state == "42501" else None
    if not found:
        return ""
    what = found[1].replace("materialized view", "table").replace("view", "table")
    rights = _GRANTS.get(what, "select (or what the statement does)")
    return f"its owner runs: grant {rights} on {what} {found[2]} to {WHO_CONNECTS}"


def in_transaction(conn: psycopg.Connection[Any]) -> bool:
    return conn.info.transaction_status != pq.TransactionStatus.IDLE
