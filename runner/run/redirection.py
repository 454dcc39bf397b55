"""Lead a plan to other databases than its own: its connections, and whatever its commands may learn of an address.

A command gets its address from the environment in a way that only its author knows. So every variable that may hold one
is replaced or taken away, and every command sees the new address, whatever its step names: a program that finds no
DATABASE_URL might take one out of a file such as `.env`, and libpq without PGHOST takes the socket of this machine.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from runner import tools
from runner.database import database_line
from runner.database.connections import OWN_VARIABLE, Connections, parse_url, words_of_orms
from runner.database.database_line import Place
from runner.errors import ConnectError, RefusedError
from runner.model import Plan

NOWHERE = f"{os.devnull}/none"
"""A path where no file can be: libpq finds no service and no password there."""

_ALWAYS = {"PGSERVICEFILE": NOWHERE, "PGSYSCONFDIR": NOWHERE, "PGPASSFILE": NOWHERE}
_URL = re.compile(r"\bpostgres(?:ql)?(?:\+\w+)?://[^\s'\"]*")
_WHOLE_URL = re.compile(r"(postgres(?:ql)?(?:\+\w+)?)://\S*")
_PART = re.compile(
    r"(?:\w*_)?(?:DB|DATABASE|POSTGRES|POSTGRESQL|SQL|TYPEORM|KNEX|SEQUELIZE)_"
    r"(?:(HOST|HOSTNAME|SERVER)|(PORT)|(USER|USERNAME)|(PASS|PASSWORD|PASSWD)|(NAME|DB|DATABASE|DBNAME))"
)
"""Variables that hold one part of an address: DB_HOST, POSTGRES_PASSWORD, APP_DATABASE_NAME."""
_PART_WORDS = ("host", "port", "user", "password", "dbname")

_PROGRAMS = re.compile(
    r"\b(?:psql|pg_dump|pg_dumpall|pg_restore|pgbench|createdb|dropdb|createuser|dropuser|vacuumdb|reindexdb|clusterdb"
    r"|pg_isready|pg_basebackup|pgcli|pgloader)\b"
)
_HOST_OPTION = re.compile(r"(?:^|\s)(?:-h\s*|--host[= ]\s*)[^\s-]\S*")
_CONNINFO = re.compile(r"(?<![\w-])(?:service|host|hostaddr)\s*=\s*[^\s'\"]+")


@dataclass(frozen=True, kw_only=True)
class Redirection:
    """A plan and an environment that lead only to other databases.

    plan: the plan with other connections, params and `${env.X}`; its `passed` names what every command gets to see.
    env: the environment to run it with. replaced, removed: names of the caller's variables that hold another value now,
    or none. urls: the addresses that a command may use, of each connection; "" is the default one's.
    """

    plan: Plan
    env: Mapping[str, str]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    urls: Mapping[str, str]

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """Return the whole environment of a program whose step names these variables."""
        return tools.environment(self.env, also=(*names, *self.plan.passed))

    def refuse_elsewhere(self, argv: Sequence[str]) -> None:
        """Raise RefusedError when a program's arguments name an address by themselves, which would lead elsewhere."""
        rest = " ".join(argv)
        for url in self.urls.values():
            rest = rest.replace(url, "")
        if found := _address(rest):
            raise RefusedError(
                f"the arguments of {Path(argv[0]).name} name the address of a database: {found}",
                hint="let the program take its address from DATABASE_URL or PG*, which lead to the scratch copy, "
                "or write ${env.DATABASE_URL} into `argv:`",
                code="PR1001",
            )


def redirect(plan: Plan, env: Mapping[str, str], to: Mapping[str, Mapping[str, str]]) -> Redirection:
    """Return the plan and the environment that lead to the databases `to`, and to no other.

    to: connection name -> libpq words of its new database (host, port, user, dbname, and password where one is needed;
    no service, no passfile). It has an entry for every connection of the plan, and "" for the default one where that is
    none of them. Nothing connects. Raises KeyError when a name of the plan is not in `to`.
    """
    default = Connections(plan.connections, env).default()
    to = {**to, "": to[default]}
    urls = {name: url(words) for name, words in to.items()}
    finder = _Finder(urls, tuple(_places(plan, env)))
    inert = {**_ALWAYS, **_variables(to[""]), "DATABASE_URL": urls[""]}
    own = {f"PLANRUN_{name.upper()}_URL": urls[name] for name in plan.connections}
    kept = {name: new for name, value in env.items() if (new := finder.variable(name, value, to[""])) is not None}
    made = kept | inert | own
    return Redirection(
        plan=replace(
            plan,
            connections={name: dict(to[name]) for name in plan.connections},
            params=finder.tree(plan.params),
            env={
                name: made.get(name) or finder.variable(name, value, to[""]) or "" for name, value in plan.env.items()
            },
            passed=tuple(inert),
        ),
        env=made,
        replaced=tuple(sorted(name for name in env if name in made and made[name] != env[name])),
        removed=tuple(sorted(env.keys() - made.keys())),
        urls=urls,
    )


def url(words: Mapping[str, str], scheme: str = "postgresql", also: Mapping[str, str] | None = None) -> str:
    """Return libpq words as a URL that libpq, SQLAlchemy, node-postgres and pgx read alike.

    A socket's folder stands in the query: not all of them decode it as the host.

    >>> url({"host": "/tmp/x", "port": "5432", "user": "a b", "dbname": "d", "password": "p/w"})
    'postgresql://a%20b:p%2Fw@/d?host=%2Ftmp%2Fx&port=5432'
    >>> url({"host": "db1", "port": "5433", "user": "a", "dbname": "d", "sslmode": "require"})
    'postgresql://a@db1:5433/d?sslmode=require'
    """
    words = dict(words)
    user, dbname = words.pop("user", ""), words.pop("dbname", "")
    secret = f":{quote(words['password'], safe='')}" if words.get("password") else ""
    words.pop("password", None)
    host = ""
    if not words.get("host", "/").startswith("/"):
        host = words.pop("host") + (f":{words.pop('port')}" if "port" in words else "")
    query = urlencode({**words, **(also or {})}, quote_via=quote, safe="")
    return f"{scheme}://{quote(user, safe='')}{secret}@{host}/{quote(dbname, safe='')}" + (f"?{query}" if query else "")


def _variables(words: Mapping[str, str]) -> dict[str, str]:
    """Return the PG* variables of libpq words; a host's address that somebody has set must not go before its name."""
    secret = {"PGPASSWORD": words["password"]} if words.get("password") else {}
    return tools.variables(words) | secret


def _places(plan: Plan, env: Mapping[str, str]) -> Iterator[tuple[str, Place]]:
    """Yield the name and the address of each connection as it was, where it can be told without connecting."""
    connections = Connections(plan.connections, env)
    for name in plan.connections or ("",):
        with contextlib.suppress(ConnectError):
            if place := database_line.expect(connections.words(name), env):
                yield name, place


@dataclass(frozen=True)
class _Finder:
    """Finds addresses in texts. urls: the new ones, of each connection. places: the old ones."""

    urls: Mapping[str, str]
    places: Sequence[tuple[str, Place]]

    def variable(self, name: str, value: str, words: Mapping[str, str]) -> str | None:
        """Return the new value of a variable; None: it is taken away. words: of the default connection."""
        if name.startswith("PG") or (OWN_VARIABLE.fullmatch(name) and name != "PLANRUN_TARGET_URL"):
            return None
        if part := _PART.fullmatch(name):
            return words.get(_PART_WORDS[next(i for i, one in enumerate(part.groups()) if one)], "")
        if _WHOLE_URL.fullmatch(value):
            return self.text(value)
        return None if _address(value) else value

    def text(self, value: str) -> str:
        """Return the text with another address in place of each URL."""
        return _URL.sub(lambda found: self._new_url(found[0]), value)

    def tree(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.tree(each) for key, each in value.items()}
        return type(value)(map(self.tree, value)) if isinstance(value, list | tuple) else value

    def _new_url(self, old: str) -> str:
        """Return the URL of the connection that led where this one leads, with its driver and its words for an ORM."""
        new = self.urls[self._connection_of(old)]
        scheme, orms = old.partition("://")[0], words_of_orms(old)
        mark = "&" if "?" in new else "?"
        return f"{scheme}://{new.partition('://')[2]}" + (f"{mark}{orms}" if orms else "")

    def _connection_of(self, old: str) -> str:
        """Return the connection that led where a URL leads; else one to a database of that name, else the default."""
        try:
            place = database_line.expect(parse_url(old, ""), {})
        except ConnectError:
            return ""
        if place is None:
            return ""
        same = [name for name, was in self.places if replace(was, user="") == replace(place, user="")]
        return next(iter([*same, *(name for name, was in self.places if was.database == place.database)]), "")


def _address(text: str) -> str:
    """Return what names the address of a database in a text, without a password; "" when nothing does."""
    if found := _URL.search(text):
        return re.sub(r"//[^/@]*@", "//", found[0])
    if found := _CONNINFO.search(text):
        return found[0]
    option = _HOST_OPTION.search(text) if _PROGRAMS.search(text) else None
    return option[0].strip() if option else ""
