"""A catalog file: what it holds, and how it is read and written.

It is made to be committed: everything in it has an order, each definition has its own lines, each table's sizes have
one line. It holds no rows, no statistics of values, no comments, no bodies of functions, no subscriptions and no user
mappings. Definitions stay as PostgreSQL prints them, with the literals in defaults, checks, views and policies.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from runner.errors import PlanrunError, UsageError
from runner.files import write_text
from runner.words import json_text, one_line

FORMAT_VERSION = 1
_WHAT = "planrun catalog file"
OLD = timedelta(days=30)
_HEAD = 200
"""Characters of a file in which it says that it is a catalog file."""
_LARGEST = 256 << 20


class CatalogFileError(PlanrunError):
    """The file is no catalog file, or not one that this version can read."""

    exit_code = 5
    CODE = "PR1043"


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role that owns something, has a right, or is above the role that connected. superuser: it may do anything."""

    name: str
    superuser: bool = False
    bypass_rls: bool = False
    member_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Extension:
    name: str
    schema: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One object as pg_dump defines it. kind: pg_dump's word, such as TABLE or ACL. sql: with that of its owner."""

    kind: str
    schema: str
    name: str
    sql: str


@dataclass(frozen=True, kw_only=True)
class Size:
    """The sizes of one table or materialized view: rows (None: not known), all bytes, those of the table, of its heap.

    counted: the rows were counted and not estimated.
    """

    schema: str
    name: str
    rows: int | None
    counted: bool
    bytes: int
    table_bytes: int
    main_bytes: int


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """A row of planrun's ledger. part: refresh or member. row: JSON data. identity: a member's object, "" if gone."""

    part: str
    identity: str
    row: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """The database of one connection.

    connection: its name in the plan, "" in a plan that declares none. place: `prod at db1:5432 as app`. same_as: the
    connection that leads to the same database, which then has all that follows. version: PostgreSQL's version number.
    owner: of the database; public_owner: of its
    schema public, "" where there is none.
    user: the role that connected. may_create: it may make schemas. search_path: of that role. ledger: what
    planrun knows of its own tables.
    """

    connection: str
    place: str
    same_as: str = ""
    database: str = ""
    version: int = 0
    owner: str = ""
    public_owner: str = ""
    user: str = ""
    may_create: bool = False
    encoding: str = "UTF8"
    search_path: str = ""
    roles: tuple[Role, ...] = ()
    extensions: tuple[Extension, ...] = ()
    definitions: tuple[Definition, ...] = ()
    sizes: tuple[Size, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()

    @property
    def major(self) -> int:
        return self.version // 10000


@dataclass(frozen=True, kw_only=True)
class CatalogFile:
    """What `planrun snapshot --out` writes. planrun: the version that wrote it. taken: the time (RFC 3339, UTC)."""

    planrun: str
    taken: str
    plan: str
    databases: tuple[DatabaseFacts, ...]

    def database(self, connection: str) -> DatabaseFacts | None:
        """Return the database of a connection, or of the one that leads to the same; None if it has none."""
        found = next((one for one in self.databases if one.connection == connection), None)
        return self.database(found.same_as) if found and found.same_as else found

    def is_old(self, now: datetime) -> bool:
        """Whether the databases have probably changed since."""
        return now - datetime.fromisoformat(self.taken).astimezone(UTC) > OLD

    def age(self, now: datetime) -> str:
        """Return how old it is: `8 days old`."""
        hours = (now - datetime.fromisoformat(self.taken).astimezone(UTC)).total_seconds() / 3600
        if hours < 0:
            return "its date is in the future"
        return f"{hours / 24:.0f} days old" if hours >= 48 else f"{hours:.0f} hours old" if hours >= 1 else "new"


# ------------------------------------------------------------------ JSON


def to_json(found: CatalogFile) -> dict[str, Any]:
    """Return the catalog file as JSON data."""
    databases = [_database_json(one) for one in found.databases]
    return {
        "catalog_file": _WHAT, "format_version": FORMAT_VERSION, "planrun": found.planrun, "taken": found.taken,
        "plan": found.plan, "databases": databases,
    }  # fmt: skip


def _database_json(one: DatabaseFacts) -> dict[str, Any]:
    if one.same_as:
        return {"connection": one.connection, "place": one.place, "same_as": one.same_as}
    definitions = [{**asdict(each), "sql": each.sql.split("\n")} for each in one.definitions]
    return {**asdict(one), "definitions": definitions}


def from_json(data: Any) -> CatalogFile:
    """Return the catalog file of JSON data. Raises CatalogFileError with the reason why it is none."""
    if not isinstance(data, dict) or data.get("catalog_file") != _WHAT:
        raise CatalogFileError("this is not a catalog file")
    version = data.get("format_version")
    if version != FORMAT_VERSION:
        raise CatalogFileError(
            f"the catalog file has format {version!r}, and this planrun reads format {FORMAT_VERSION}",
            hint=f"use the planrun that wrote it ({one_line(str(data.get('planrun')))}), or write it anew",
            code="PR1044",
        )
    try:
        found = CatalogFile(
            planrun=_text(data["planrun"]),
            taken=_text(data["taken"]),
            plan=_text(data["plan"]),
            databases=tuple(map(_database, data["databases"])),
        )
        found.age(datetime.now(UTC))
        _refuse_loops(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise CatalogFileError(f"the catalog file lacks what a catalog file has: {exc}") from None
    return found


def _refuse_loops(found: CatalogFile) -> None:
    real = {one.connection for one in found.databases if not one.same_as}
    if any(one.same_as and one.same_as not in real for one in found.databases):
        raise ValueError("same_as names a connection without a database")


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{value!r} is not a text")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise TypeError(f"{value!r} is not a count")
    return value


def _yes(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value


def _database(data: Mapping[str, Any]) -> DatabaseFacts:
    if data.get("same_as"):
        return DatabaseFacts(
            connection=_text(data["connection"]), place=_text(data["place"]), same_as=_text(data["same_as"])
        )
    return DatabaseFacts(
        **{
            name: _text(data[name])
            for name in ("connection", "place", "database", "owner", "public_owner", "user", "encoding", "search_path")
        },
        version=_number(data["version"]),
        may_create=_yes(data["may_create"]),
        roles=tuple(map(_role, data["roles"])),
        extensions=tuple(
            Extension(**{one.name: _text(each[one.name]) for one in fields(Extension)}) for each in data["extensions"]
        ),
        definitions=tuple(map(_definition, data["definitions"])),
        sizes=tuple(map(_size, data["sizes"])),
        ledger=tuple(map(_ledger_row, data["ledger"])),
    )


def _role(data: Mapping[str, Any]) -> Role:
    return Role(
        name=_text(data["name"]),
        superuser=_yes(data["superuser"]),
        bypass_rls=_yes(data["bypass_rls"]),
        member_of=tuple(map(_text, data["member_of"])),
    )


def _definition(data: Mapping[str, Any]) -> Definition:
    sql = "\n".join(map(_text, data["sql"]))
    return Definition(kind=_text(data["kind"]), schema=_text(data["schema"]), name=_text(data["name"]), sql=sql)


def _ledger_row(data: Mapping[str, Any]) -> LedgerRow:
    if data["part"] not in ("refresh", "member") or not isinstance(data["row"], Mapping):
        raise TypeError("a row of the ledger is not one")
    return LedgerRow(part=data["part"], identity=_text(data["identity"]), row=data["row"])


def _size(data: Mapping[str, Any]) -> Size:
    return Size(
        schema=_text(data["schema"]),
        name=_text(data["name"]),
        rows=None if data["rows"] is None else _number(data["rows"]),
        counted=_yes(data["counted"]),
        bytes=_number(data["bytes"]),
        table_bytes=_number(data["table_bytes"]),
        main_bytes=_number(data["main_bytes"]),
    )


# ------------------------------------------------------------------ the file


def read(file: str) -> CatalogFile:
    """Return the catalog file at a path. Raises CatalogFileError, which names the file and the reason."""
    try:
        path = Path(file)
        if path.stat().st_size > _LARGEST:
            raise CatalogFileError(f"it is larger than {_LARGEST >> 20} MB")
        return from_json(json.loads(path.read_bytes()))
    except OSError as exc:
        error = CatalogFileError(f"cannot read the catalog file: {exc.strerror}")
    except (ValueError, RecursionError):  # no JSON, or no UTF-8
        error = CatalogFileError("this is not a whole catalog file: it is cut off, or no JSON")
    except CatalogFileError as exc:
        error = exc
    error.where, error.hint = file, error.hint or "write it anew: planrun snapshot PLAN --out FILE"
    raise error from None


def refuse_other_file(file: str) -> None:
    """Raise UsageError when something is there that is no catalog file: it would be replaced."""
    path = Path(file)
    if os.path.lexists(path) and (path.is_symlink() or not _begins_as_one(path)):
        raise UsageError(
            f"--out {file}: the file is there and is no catalog file", hint="give it another name", code="PR1048"
        )


def _begins_as_one(path: Path) -> bool:
    try:
        with path.open(errors="replace") as stream:
            return path.is_file() and _WHAT in stream.read(_HEAD)
    except OSError:
        return False


def write(found: CatalogFile, file: str) -> None:
    """Write the file; whoever reads it sees the old one or the whole new one."""
    refuse_other_file(file)
    write_text(Path(file), "".join(_lines(to_json(found))), 0o644)


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text: each member of a list of records in one line, each line of a definition in a line of its own."""
    databases = data["databases"]
    yield "{\n"
    yield from (f" {json_text(key)}: {json_text(value)},\n" for key, value in data.items() if key != "databases")
    yield ' "databases": ['
    for number, one in enumerate(databases):
        yield ("," if number else "") + "\n  {"
        for at, (key, value) in enumerate(one.items()):
            yield ("," if at else "") + f"\n   {json_text(key)}: "
            yield _list(value, key) if isinstance(value, list | tuple) else json_text(value)
        yield "\n  }"
    yield "\n ]\n}\n"


def _list(value: Any, key: str) -> str:
    if not value:
        return "[]"
    if key == "definitions":
        texts = [json_text(one, indent=1).replace("\n", "\n    ") for one in value]
    else:
        texts = [json_text(one) for one in value]
    return "[\n    " + ",\n    ".join(texts) + "\n   ]"
