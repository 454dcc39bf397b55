"""Servers that scratch copies are made on: a private one of each major version, or one that somebody names.

On a named server a database has a marked name and a marked comment, so that the next rehearsal finds and drops what an
interrupted one left. What fills a database and what runs in it never is a superuser (runner/backup/scratch.py).
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import sqlfile
from runner.backup import scratch
from runner.cancel import Cancel
from runner.database.connections import OWN_VARIABLE, Connections, translate_errors
from runner.database.deadlines import DeadlineConnection, cancellable
from runner.errors import TargetError
from runner.server import embedded, programs
from runner.server.programs import Programs
from runner.sqltext import SqlText, ident, literal
from runner.words import size

PREFIX = "planrun_scratch_"
LOG_SETTINGS = {"log_line_prefix": "%n|%p|%d|%a|", "log_error_verbosity": "terse"}
"""Of a private server whose log is read (program_watch.py): time in seconds, process, database, application."""

MARKER = "planrun rehearsal"
"""The beginning of the comment on a scratch database of a named server."""


@dataclass(frozen=True, kw_only=True)
class Original:
    """A database that is copied: rows of sql/scratch/database.sql and roles.sql, and how connections reach it.

    users: connection name -> its role. line: for people, such as `target: prod at db1:5432 as app, from PGHOST`.
    """

    facts: Mapping[str, Any]
    roles: Sequence[Mapping[str, Any]]
    settings: Sequence[Mapping[str, Any]]
    users: Mapping[str, str]
    major: int
    line: str

    @property
    def name(self) -> str:
        return str(self.facts["name"])


@dataclass(frozen=True, kw_only=True)
class Database:
    """An empty scratch database. filler: libpq words of the role that fills it, which owns everything at first.

    words: connection name -> libpq words for the plan. everyone: the role that lets all owners create in each schema
    while the database is filled; "" on a named server, where everything stays the filler's. mighty: a connection is a
    superuser's in the original, for whom an owner's right to create does not count; so they keep it in the copy.
    """

    name: str
    filler: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]
    everyone: str
    mighty: bool = False


@dataclass(kw_only=True)
class Place:
    """A server. words: how to reach it as the role that makes databases.

    programs: those that fit it. token: with which the names of what is made on a named server begin. filler, everyone:
    roles, as in Database. secret: the filler's password. log: of a private server. roles, databases: what was made so
    far.
    """

    words: Mapping[str, str]
    env: Mapping[str, str]
    programs: Programs
    major: int
    private: bool
    cancel: Cancel
    token: str = ""
    filler: str = ""
    secret: str = ""
    everyone: str = ""
    log: Path = Path()
    roles: set[str] = field(default_factory=set)
    databases: set[str] = field(default_factory=set)

    def connections(self, words: Mapping[str, str]) -> Connections:
        return Connections({"scratch": words}, self.env, application=MARKER, cancel=self.cancel)

    @contextlib.contextmanager
    def open(self, words: Mapping[str, str]) -> Iterator[DeadlineConnection]:
        """Yield a connection without a limit for statements, which a cancel ends."""
        with (
            contextlib.closing(self.connections(words).open("scratch", statement_timeout="0")) as conn,
            cancellable(conn, self.cancel),
            translate_errors("making the scratch copy"),
        ):
            yield conn

    def run(self, words: Mapping[str, str], *texts: str) -> None:
        """Run statements, each by itself."""
        with self.open(words) as conn:
            for text in texts:
                conn.execute(text.encode())


# ------------------------------------------------------------------ a private server


@contextlib.contextmanager
def private(major: int, cancel: Cancel, bytes: int) -> Iterator[Place]:
    """Run a private server of this major version, or of the next one that is here.

    bytes: what it will hold, 0 for next to nothing: much does not go into memory. Raises TargetError, also when there
    is no room for it.
    """
    base = _roomy(bytes) if bytes else None
    token = secrets.token_hex(4)
    admin, filler, everyone = (f"planrun_{what}_{token}" for what in ("server", "filler", "everyone"))
    with embedded.private_server(programs.server_for(major), user=admin, settings=LOG_SETTINGS, base=base) as server:
        place = Place(
            words=server.words, env=alone(server.words), programs=server.programs, major=server.major, private=True,
            cancel=cancel, filler=filler, everyone=everyone, log=server.log,
        )  # fmt: skip
        place.run(place.words, f"create role {ident(filler)} login", f"create role {ident(everyone)}")
        yield place


def _roomy(bytes: int) -> Path:
    """Return the folder for temporary files. Raises TargetError when a copy of so much does not go into it."""
    folder = Path(tempfile.gettempdir())
    if (free := shutil.disk_usage(folder).free) < bytes * _ROOM:
        raise TargetError(
            f"the rows need about {size(round(bytes * _ROOM))} in {folder}, where {size(free)} are free",
            hint="copy a sample (--rows sample), set TMPDIR to a larger disk, or name a server with --on",
            code="PR1005",
        )
    return folder


_ROOM = 1.5
"""Room for a copy, as a multiple of the original's size: its rows come as WAL, too."""


def alone(words: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for connections to this server: no variable of the caller says where they lead."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    own = (name for name in kept if name == "DATABASE_URL" or OWN_VARIABLE.fullmatch(name))
    return {name: kept[name] for name in kept.keys() - set(own)} | {"PGHOST": words["host"]}


def make_private(place: Place, original: Original) -> Database:
    """Create the roles of a database's server that are not there yet, and an empty database for its copy."""
    name = next(one for one in _names(original.name) if one not in place.databases | {"postgres", "template1"})
    place.databases.add(name)
    with place.open(place.words) as conn:
        for text in _role_texts(place, original):
            conn.execute(text.encode())
        for role, member in _memberships(place, original):
            with contextlib.suppress(TargetError), translate_errors():  # a circle, where the filler is not let in
                conn.execute(f"grant {ident(role)} to {ident(member)}".encode())
        for text in _settings(original, name):
            with contextlib.suppress(TargetError), translate_errors():  # of an extension that is not here
                conn.execute(text.encode())
        _create_database(conn, place, original, name)
    base = {**place.words, "dbname": name}
    _own_public(place, base, place.filler)
    return Database(
        name=name,
        filler={**base, "user": place.filler},
        words={each: {**base, "user": user} for each, user in original.users.items()},
        everyone=place.everyone,
        mighty=any(_mighty(original)),
    )


def _names(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _role_texts(place: Place, original: Original) -> Iterator[str]:
    """Yield what makes the roles. None is a superuser, whatever it was; one that was sees all rows all the same."""
    users = set(original.users.values())
    for role in original.roles:
        name = role["name"]
        if name not in place.roles:
            place.roles.add(name)
            yield f"create role {ident(name)}"
        options = ["login"] if name in users else []
        options += ["bypassrls"] if role["bypasses"] or role["super"] else []
        options += [] if role["inherits"] else ["noinherit"]
        # before 16 a role that makes roles may give itself the right to run programs of the server
        options += ["createrole"] if (role["makes_roles"] or role["super"]) and place.major >= 16 else []
        if options:
            yield f"alter role {ident(name)} {' '.join(options)}"


def _memberships(place: Place, original: Original) -> Iterator[tuple[str, str]]:
    """Yield (role, its new member): as on the original's server, and those that let the copy be filled."""
    names = [role["name"] for role in original.roles]
    yield from ((group, role["name"]) for role in original.roles for group in role["member_of"] if group in names)
    yield from ((name, place.filler) for name in names)
    yield from ((place.everyone, name) for name in names)
    for one in _mighty(original):
        yield from ((name, one) for name in names if name != one)
        yield ("pg_monitor", one)


def _mighty(original: Original) -> list[str]:
    return [role["name"] for role in original.roles if role["super"] and role["name"] in original.users.values()]


_HARMLESS = frozenset(
    {"search_path", "role", "datestyle", "intervalstyle", "timezone", "extra_float_digits", "bytea_output"}
    | {"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "row_security", "xmloption"}
    | {"default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable", "jit"}
    | {"standard_conforming_strings", "client_encoding", "lc_numeric", "lc_monetary", "lc_time", "work_mem"}
    | {
        "default_tablespace",
        "default_table_access_method",
        "array_nulls",
        "check_function_bodies",
        "transform_null_equals",
    }
)


def _settings(original: Original, database: str) -> Iterator[str]:
    """Yield what gives roles and the database the settings that change what a statement means; none loads a library."""
    for one in original.settings:
        name = str(one["name"])
        if name.lower() not in _HARMLESS and "." not in name:
            continue
        of = f"role {ident(one['role'])}" if one["role"] else "database " + ident(database)
        also = f" in database {ident(database)}" if one["role"] and one["whole"] else ""
        value = "''" if name.lower() == "role" and one["value"] == "none" else _setting_value(name, one["value"])
        words = ".".join(ident(word) for word in name.split("."))
        yield f"alter {of}{also} set {words} to {value}"


def _setting_value(name: str, value: str) -> str:
    if name.lower() != "search_path":
        return literal(value)
    return ", ".join(literal(part.strip().strip('"').replace('""', '"')) for part in value.split(",")) or "''"


def _create_database(conn: DeadlineConnection, place: Place, original: Original, name: str) -> None:
    """Create it with the original's encoding and sort order; with those of C where this machine has not that order."""
    facts = original.facts
    head = f"create database {ident(name)} owner {ident(place.filler)} template template0"
    encoding = f" encoding {literal(facts['encoding'])}"
    try:
        with translate_errors():
            conn.execute(
                f"{head}{encoding} lc_collate {literal(facts['collate'])} lc_ctype {literal(facts['ctype'])}".encode()
            )
    except TargetError:
        place.cancel.check()
        conn.execute(
            f"{head}{encoding} locale {literal(embedded.LOCALE if facts['encoding'] == 'UTF8' else 'C')}".encode()
        )


def _own_public(place: Place, words: Mapping[str, str], owner: str) -> None:
    place.run(words, f"alter schema public owner to {ident(owner)}")


def hand_over(place: Place, database: Database, original: Original) -> None:
    """Give the database, and schema public, to whom they belong, with the grants on the database."""
    base = {**place.words, "dbname": database.name}
    names = {role["name"] for role in original.roles}
    texts = []
    if (owner := original.facts["public_owner"]) and (owner in names or owner == "pg_database_owner"):
        texts.append(f"alter schema public owner to {ident(owner)}")
    if original.facts["owner"] in names:
        texts.append(f"alter database {ident(database.name)} owner to {ident(original.facts['owner'])}")
    texts.append(f"revoke all on database {ident(database.name)} from public")
    for grantee, privilege, grantable in original.facts["grants"]:
        if grantee and grantee not in names:
            continue
        to = ident(grantee) if grantee else SqlText("public")
        option = " with grant option" if grantable and grantee else ""
        texts.append(f"grant {privilege} on database {ident(database.name)} to {to}{option}")
    texts += [f"grant connect on database {ident(database.name)} to {ident(place.filler)}"]
    place.run(base, *texts)


# ------------------------------------------------------------------ a server that somebody names


@contextlib.contextmanager
def named(
    words: Mapping[str, str], env: Mapping[str, str], cancel: Cancel, say: Callable[[str], object]
) -> Iterator[Place]:
    """Use a server where databases may be created, as a role that only makes databases, or as a superuser.

    A superuser fills and uses nothing itself: a role without rights is made for that. Raises TargetError for a role
    that may use files or programs of the server. First drops what interrupted rehearsals left there.
    """
    token = PREFIX + secrets.token_hex(6)
    connections = Connections({"server": words}, env, application=token, cancel=cancel)
    with contextlib.closing(connections.open("server", statement_timeout="0")) as conn:  # says that it is in use
        with cancellable(conn, cancel), translate_errors("looking at the server for the scratch copy"):
            _drop_leftovers(conn, say)
            owner = scratch.make_owner(conn, token)
            if owner:
                conn.execute(f"comment on role {ident(token)} is {literal(MARKER)}".encode())
        info = conn.info
        plain = {**_without_service(info.get_parameters()), "host": info.host, "port": str(info.port)}
        plain |= {"user": info.user, "dbname": info.dbname} | ({"password": info.password} if info.password else {})
        major = info.server_version // 10000
        place = Place(
            words=plain, env=alone(plain), programs=programs.client_for(major), major=major, private=False,
            cancel=cancel, token=token, filler=owner.get("user", info.user),
            secret=owner.get("password", info.password),
        )  # fmt: skip
        try:
            yield place
        finally:
            _drop_all(place, bool(owner), say)


def _without_service(words: Mapping[str, str]) -> dict[str, str]:
    """Return the words of an open connection that a later one needs; its address and its role come from elsewhere."""
    kept = ("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "gssencmode", "channel_binding", "require_auth")
    return {word: value for word, value in words.items() if word in kept}


def make_named(place: Place, original: Original) -> Database:
    """Create an empty database that is marked as one of a rehearsal."""
    name = f"{place.token}_{len(place.databases) + 1}"
    encoding = original.facts["encoding"]
    locale = "" if encoding == "UTF8" else f" encoding {literal(encoding)} locale 'C'"
    place.databases.add(name)
    place.run(
        place.words,
        f"create database {ident(name)} owner {ident(place.filler)} template template0{locale}",
        f"comment on database {ident(name)} is {literal(_comment(original))}",
    )
    filler = {**place.words, "dbname": name, "user": place.filler}
    filler |= {"password": place.secret} if place.secret else {}
    return Database(name=name, filler=filler, words=dict.fromkeys(original.users, filler), everyone="")


def _comment(original: Original) -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "?"
    return f"{MARKER}: a copy of {original.name}, made by {user} on {socket.gethostname()}, process {os.getpid()}"


def _drop_leftovers(conn: DeadlineConnection, say: Callable[[str], object]) -> None:
    text = sqlfile.fill("scratch/leftovers.sql", marker=literal(MARKER), prefix=literal(PREFIX))
    for row in conn.execute(text).fetchall():
        what = "database" if row["database"] else "role"
        say(f"dropping {what} {row['name']}, which an interrupted rehearsal left")
        with contextlib.suppress(TargetError), translate_errors():  # somebody else is about to drop it
            conn.execute(f"drop {what} if exists {ident(row['name'])}".encode())


def _drop_all(place: Place, role: bool, say: Callable[[str], object]) -> None:
    """Drop the databases and the role of a rehearsal; say what could not be dropped, which the next rehearsal does."""
    texts = [f"drop database if exists {ident(name)} with (force)" for name in sorted(place.databases)]
    texts += [f"drop role if exists {ident(place.filler)}"] if role else []
    connections = Connections({"scratch": place.words}, place.env, application=MARKER)
    for text in texts:
        try:
            with (
                contextlib.closing(connections.open("scratch", statement_timeout="0")) as conn,
                translate_errors(),
            ):
                conn.execute(text.encode())
        except TargetError as exc:
            say(f"left on the server of --on: {exc.message}; the next rehearsal there drops it, or type: {text}")
