"""manifest.json of a session: what was backed up, from where, and the checksums that show whether it has changed.

A manifest is read as untrusted input: every type is checked, every file name stays inside its folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from runner.errors import VerifyError
from runner.files import is_inside
from runner.table_name import Named, TableName

FORMAT = 2
_READABLE = (1, 2)
"""In format 1 the server has no `hash_sample`, and the checksums of content are sums of MD5."""
LARGEST = 256 << 20
"""The maximum size of a manifest in bytes: about 300,000 tables of 20 columns."""


@dataclass(frozen=True, kw_only=True)
class Table(Named):
    """One table of a session.

    bytes and sha256 are those of `file` on disk; bytes is 0 if the file contains several tables.
    checksum: order-free sum of the hashes of the rows' text (see Server). post_data_at: offset in the uncompressed text
    where foreign keys begin, None if the file has one part. references: [schema, name] of tables that must exist
    before.
    """

    schema: str
    name: str
    file: str
    rows: int
    checksum: str
    bytes: int
    sha256: str
    post_data_at: int | None = None
    columns: tuple[str, ...] = ()
    references: tuple[TableName, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class File:
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Left(Named):
    schema: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Need(Named):
    """An object that must exist before the tables and that their dumps do not create.

    kind: type, domain, function, schema, extension, sequence, table, parent (a table to inherit from: created only for
    a proof), role ... identity: as pg_identify_object gives it;
    for a role, why it is needed: owner, grant or policy. ddl: the SQL that creates it, "" if a person must do so.
    """

    kind: str
    schema: str
    name: str
    identity: str
    ddl: str = ""


@dataclass(frozen=True, kw_only=True)
class Attachment(Named):
    """An object that belongs to a table and is not in its dump. kind: statistics or publication. ddl: the SQL for
    it."""

    kind: str
    schema: str
    name: str
    table_schema: str
    table_name: str
    ddl: str


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server of a backup.

    clock_ahead: seconds by which planrun's clock was ahead of the server's, if recorded. hash_sample: the hash of a
    fixed text there (sql/server/version.sql); None if the checksums are sums of MD5.
    """

    version: str
    version_num: int
    database: str
    system_identifier: str | None = None
    encoding: str = "UTF8"
    clock_ahead: float = 0.0
    hash_sample: str | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about a session; `started` and `finished` are UTC. `bytes` and `rows` are totals."""

    made_by: str
    state: str
    session: str
    id: str
    run: str
    plan: str
    started: datetime
    finished: datetime | None = None
    snapshot: str = ""
    server: Server | None = None
    pg_dump: str = ""
    schema_digest: str = ""
    format: str = ""
    compress: str = ""
    tables: tuple[Table, ...] = ()
    left_out: tuple[Left, ...] = ()
    needs: tuple[Need, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0

    def table(self, schema: str, name: str) -> Table | None:
        return next((t for t in self.tables if t.full_name == (schema, name)), None)


def to_json(manifest: Manifest) -> str:
    data = {"format_version": FORMAT} | asdict(manifest)
    return json.dumps(data, indent=1, ensure_ascii=True, default=_moment) + "\n"


def _moment(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError(f"no JSON for {value!r}")


def from_json(text: str | bytes, where: str = "") -> Manifest:
    """Parse a manifest from a JSON text. Raises VerifyError with the invalid field."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise VerifyError("this manifest is not JSON", where=where, code="PR0706") from None
    try:
        return _manifest(_Fields(data, ""))
    except _Wrong as exc:
        raise VerifyError(f"this manifest is not valid: {exc}", where=where, code="PR0706") from None


class _Wrong(Exception):
    pass


def _counts(value: Any) -> bool:
    """Return whether a value fits into a bigint, if it is a number."""
    return not isinstance(value, int) or 0 <= value < 2**63


class _Fields:
    """A JSON object whose fields are read with the type that they must have."""

    def __init__(self, data: Any, path: str) -> None:
        if not isinstance(data, dict):
            raise _Wrong(f"{path or 'it'} must be an object")
        self._data, self._path = data, path

    def get(self, name: str, kind: type, *, empty: bool = True) -> Any:
        value: Any = self._data.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) or not _counts(value):
            raise _Wrong(f"{self._path}{name} must be {_WORD[kind]}")
        if not empty and not value:
            raise _Wrong(f"{self._path}{name} must not be empty")
        return value

    def text(self, name: str, *, empty: bool = True) -> str:
        return str(self.get(name, str, empty=empty))

    def number(self, name: str) -> int:
        return int(self.get(name, int))

    def seconds(self, name: str) -> float:
        value = self._data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
            raise _Wrong(f"{self._path}{name} must be a number of seconds")
        return float(value)

    def difference(self, name: str) -> float:
        """Return a number of seconds that may be negative, of at most 10,000 years."""
        value = self._data.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 3.2e11:
            raise _Wrong(f"{self._path}{name} must be a number of seconds")
        return float(value)

    def optional(self, name: str, read: Callable[[str], Any]) -> Any:
        return None if self._data.get(name) is None else read(name)

    def moment(self, name: str) -> datetime:
        try:
            moment = datetime.fromisoformat(self.text(name))
            moment = moment.astimezone(UTC) if moment.tzinfo else moment
        except (ValueError, OverflowError):  # OverflowError: the year in UTC is before 1 or after 9999
            raise _Wrong(f"{self._path}{name} must be a time such as 2025-07-20T12:26:55.178Z") from None
        if moment.tzinfo is None:
            raise _Wrong(f"{self._path}{name} must have a time zone")
        return moment

    def file(self, name: str) -> str:
        value = self.text(name)
        if not is_inside(value):
            raise _Wrong(f"{self._path}{name} must be a file name inside the session, not {value!r}")
        return value

    def digest(self, name: str) -> str:
        value = self.text(name)
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise _Wrong(f"{self._path}{name} must be a SHA-256 in hex")
        return value

    def fields(self, name: str) -> _Fields:
        return _Fields(self.get(name, dict), f"{self._path}{name}.")

    def each(self, name: str, read: Callable[[_Fields], Any]) -> tuple[Any, ...]:
        items = self.get(name, list)
        return tuple(read(_Fields(item, f"{self._path}{name}[{n}].")) for n, item in enumerate(items))

    def texts(self, name: str) -> tuple[str, ...]:
        items = self.get(name, list)
        if not all(isinstance(item, str) for item in items):
            raise _Wrong(f"{self._path}{name} must be a list of texts")
        return tuple(items)

    def pairs(self, name: str) -> tuple[TableName, ...]:
        items = self.get(name, list)
        if not all(isinstance(i, list) and len(i) == 2 and all(isinstance(t, str) for t in i) for i in items):
            raise _Wrong(f"{self._path}{name} must be a list of [schema, name]")
        return tuple(TableName(*item) for item in items)

    def names(self) -> list[str]:
        return list(self._data)


_WORD: Mapping[type, str] = {
    str: "a text",
    int: "a number that is not negative",
    dict: "an object",
    list: "a list",
}


def _manifest(it: _Fields) -> Manifest:
    if it.number("format_version") not in _READABLE:
        raise _Wrong(f"format_version must be {FORMAT} or less; a newer planrun may have written it")
    if it.text("state") not in ("partial", "complete"):
        raise _Wrong("state must be partial or complete")
    files = it.fields("files")
    return Manifest(
        made_by=it.text("made_by", empty=False),
        state=it.text("state"),
        session=it.file("session"),
        id=it.text("id", empty=False),
        run=it.text("run"),
        plan=it.text("plan"),
        started=it.moment("started"),
        finished=it.optional("finished", it.moment),
        snapshot=it.text("snapshot"),
        server=it.optional("server", lambda name: _server(it.fields(name))),
        pg_dump=it.text("pg_dump"),
        schema_digest=it.text("schema_digest"),
        format=it.text("format"),
        compress=it.text("compress"),
        tables=it.each("tables", _table),
        left_out=it.each("left_out", _left_out_table),
        needs=it.optional("needs", lambda name: it.each(name, _need)) or (),
        attachments=it.optional("attachments", lambda name: it.each(name, _attachment)) or (),
        files={_inside(name): _file(files.fields(name)) for name in files.names()},
        rows=it.number("rows"),
        bytes=it.number("bytes"),
    )


def _inside(name: str) -> str:
    if not is_inside(name):
        raise _Wrong(f"files: {name!r} is not a file name inside the session")
    return name


def _server(it: _Fields) -> Server:
    return Server(
        version=it.text("version"),
        version_num=it.number("version_num"),
        database=it.text("database"),
        system_identifier=it.optional("system_identifier", it.text),
        encoding=it.text("encoding"),
        clock_ahead=it.optional("clock_ahead", it.difference) or 0.0,
        hash_sample=it.optional("hash_sample", it.text),
    )


def _table(it: _Fields) -> Table:
    return Table(
        schema=it.text("schema", empty=False),
        name=it.text("name", empty=False),
        file=it.file("file"),
        rows=it.number("rows"),
        checksum=it.text("checksum"),
        bytes=it.number("bytes"),
        sha256=it.digest("sha256"),
        post_data_at=it.optional("post_data_at", it.number),
        columns=it.texts("columns"),
        references=it.pairs("references"),
        seconds=it.seconds("seconds"),
    )


def _left_out_table(it: _Fields) -> Left:
    return Left(schema=it.text("schema"), name=it.text("name"), reason=it.text("reason"))


def _attachment(it: _Fields) -> Attachment:
    return Attachment(
        kind=it.text("kind", empty=False),
        schema=it.text("schema"),
        name=it.text("name", empty=False),
        table_schema=it.text("table_schema", empty=False),
        table_name=it.text("table_name", empty=False),
        ddl=it.text("ddl", empty=False),
    )


def _need(it: _Fields) -> Need:
    return Need(
        kind=it.text("kind", empty=False),
        schema=it.text("schema"),
        name=it.text("name", empty=False),
        identity=it.text("identity"),
        ddl=it.text("ddl"),
    )


def _file(it: _Fields) -> File:
    return File(bytes=it.number("bytes"), sha256=it.digest("sha256"))


def sizes(manifest: Manifest) -> dict[str, int]:
    """Return the bytes of each dump, a file or a folder of files, by its name."""
    found = dict.fromkeys((table.file for table in manifest.tables), 0)
    for name, file in manifest.files.items():
        dump = name if name in found else name.split("/")[0]
        if dump in found:
            found[dump] += file.bytes
    return found
