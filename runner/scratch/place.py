"""What is copied, where to, and by whom: an original, a server for copies, an empty database on it.

What fills a database and what runs in it never is a superuser (runner/backup/scratch.py).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.cancel import Cancel
from runner.database.connections import OWN_VARIABLE, Connections, translate_errors
from runner.database.deadlines import DeadlineConnection, cancellable
from runner.server.programs import Programs

MARKER = "planrun rehearsal"
"""The application name of connections to copies, and the beginning of the comment on what is made on a named server."""


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


def alone(words: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for connections to this server: no variable of the caller says where they lead."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    own = (name for name in kept if name == "DATABASE_URL" or OWN_VARIABLE.fullmatch(name))
    return {name: kept[name] for name in kept.keys() - set(own)} | {"PGHOST": words["host"]}
