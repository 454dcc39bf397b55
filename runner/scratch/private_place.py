"""Private servers for scratch copies: one of each major version, with the roles of the originals' servers.

None of the roles is a superuser, whatever it was. Nor is the role that fills a copy: it is a member of all of them and
restores what they own.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.cancel import Cancel
from runner.database.connections import translate_errors
from runner.database.deadlines import DeadlineConnection
from runner.errors import TargetError
from runner.scratch.place import Database, Original, Place, alone
from runner.server import embedded, programs
from runner.sqltext import SqlText, ident, literal
from runner.words import size

LOG_SETTINGS = {"log_line_prefix": "%n|%p|%d|%a|", "log_error_verbosity": "terse"}
"""Of a server whose log is read (program_watch.py): time in seconds, process, database, application."""


@contextlib.contextmanager
def open_place(major: int, cancel: Cancel, bytes: int) -> Iterator[Place]:
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
        place.run(place.words, f"create role {ident(filler)} login bypassrls", f"create role {ident(everyone)}")
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


def make(place: Place, original: Original) -> Database:
    """Create the roles of a database's server that are not there yet, and an empty database for its copy."""
    name = next(one for one in _names(original.name) if one not in place.databases | {"postgres", "template1"})
    place.databases.add(name)
    with place.open(place.words) as conn:
        for text in _role_texts(place, original):
            conn.execute(text.encode())
        for role, member in _memberships(place, original):
            with contextlib.suppress(TargetError), translate_errors():  # a circle, where the filler is not let in
                conn.execute(f"grant {ident(role)} to {ident(member)}".encode())
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
    """Give the database, and schema public, to whom they belong, with the grants on the database and the
    settings of it and of roles, which would be in the way before."""
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
    for text in _settings(original, database.name):
        with contextlib.suppress(TargetError):  # of an extension that is not here
            place.run(place.words, text)
