"""Scratch copies on a server that somebody names, next to other databases.

A database there has a marked name and a marked comment, so that the next rehearsal finds and drops what an interrupted
one left.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping

from runner import sqlfile
from runner.backup import scratch
from runner.cancel import Cancel
from runner.database.connections import Connections, translate_errors
from runner.database.deadlines import DeadlineConnection, cancellable
from runner.errors import TargetError
from runner.scratch.place import MARKER, Database, Original, Place, alone
from runner.server import programs
from runner.sqltext import ident, literal

PREFIX = "planrun_scratch_"


@contextlib.contextmanager
def open_place(
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


def make(place: Place, original: Original) -> Database:
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
