"""The versioned records that the ledger keeps for a refresh and for its members, in addition to their columns.

The tables planrun.refresh and planrun.member hold them in the JSON column `about`. A field that has its default may be
absent there. What 0.1 wrote has no `version` and is upgraded when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field, fields
from typing import Any, NamedTuple, Self, TypeVar

from runner.record import dataclass
from runner.refresh.catalog.relations import ForeignKey
from runner.sqltext import SqlText, qualified
from runner.table_name import Named, TableName

VERSION = 2
"""Of RefreshRecord. 1 is what 0.1 wrote, without a number."""


T = TypeVar("T")


class RecordError(ValueError):
    """A field of a record contains what planrun never writes there; the text names the field."""


class NewerRecordError(ValueError):
    """A newer planrun wrote this record; the text gives its version."""


# ------------------------------------------------------------------ change capture


class Key(NamedTuple):
    """A column of a key. type: as CREATE TABLE needs it, including COLLATE. equals: the operator of its index."""

    column: str
    type: str
    equals: str = "operator(pg_catalog.=)"


@dataclass(frozen=True, kw_only=True)
class Watched(Named):
    """A table whose changed keys are recorded, by its OID and its current name.

    columns: those that are copied. truncate_on: itself, and all partitions below it. window: recorded after a swap for
    its rollback, not before the swap; a table may have both at the same time.
    """

    refresh: str
    oid: int
    schema: str
    name: str
    key: tuple[Key, ...]
    columns: tuple[str, ...]
    truncate_on: tuple[TableName, ...] = ()
    window: bool = False

    @property
    def sql(self) -> SqlText:
        return self.full_name.sql

    @property
    def journal(self) -> SqlText:
        return qualified("planrun", f"keys_{self.suffix}")

    @property
    def function(self) -> SqlText:
        return qualified("planrun", f"note_{self.suffix}")

    @property
    def triggers(self) -> tuple[str, str]:
        """Names of the trigger on rows and of the one on TRUNCATE."""
        return f"planrun_keys_{self.suffix}", f"planrun_keys_{self.suffix}_truncate"

    @property
    def suffix(self) -> str:
        return f"{self.oid}_window" if self.window else str(self.oid)

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "key": [list(key) for key in self.key],
            "truncate_on": list(map(list, self.truncate_on)),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read one. Raises RecordError."""
        given = _object(data)
        return cls(
            refresh=_text(given["refresh"]),
            oid=_integer(given["oid"]),
            schema=_text(given["schema"]),
            name=_text(given["name"]),
            key=tuple(Key(*_texts(key)) for key in _list(given["key"])),
            columns=_texts(given["columns"]),
            truncate_on=tuple(map(_name, _list(given["truncate_on"]))),
            window=_boolean(given["window"]),
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rollback window. until: ISO 8601; later writes are not recorded. tables: by their live names."""

    until: str
    tables: tuple[Watched, ...]

    def to_json(self) -> dict[str, Any]:
        return {"until": self.until, "keys": [one.to_json() for one in self.tables]}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read one. Raises RecordError."""
        given = _object(data)
        return cls(until=_text(given["until"]), tables=tuple(map(Watched.from_json, _list(given["keys"]))))


# ------------------------------------------------------------------ a refresh


@dataclass(frozen=True, kw_only=True)
class SequencePosition(Named):
    """The position of a source sequence that no loaded table owns; the swap advances the target's own sequence to
    it."""

    schema: str
    name: str
    last_value: int
    is_called: bool

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read one. Raises RecordError."""
        given = _object(data)
        schema, name = _text(given["schema"]), _text(given["name"])
        return cls(
            schema=schema,
            name=name,
            last_value=_integer(given["last_value"]),
            is_called=_boolean(given["is_called"]),
        )


States = Mapping[str, Mapping[str, str]]
"""Table -> trigger or rule -> how it is enabled (pg_trigger.tgenabled)."""


@dataclass(frozen=True, kw_only=True)
class RefreshRecord:
    """What is known of a refresh, by the step that records it. Tables and columns have their live names.

    Load, at its beginning:
      shadow_oid: OID of the shadow schema, 0 when 0.1 recorded none. shadow_schemas: name -> OID of the others, for
      views of other schemas. lose: the dependents whose loss the plan accepts.
    Load, at its end:
      foreign_keys: those of the source's tables. structure: "table.column" and the like -> a hash of the live tables,
      which must not change until the swap. xids: planrun's transactions that wrote rows, as text. trigger_states,
      rule_states: how they are enabled in the source; they are disabled until the swap. sequences: see
      SequencePosition. columns: table -> columns of the new table. new_protection: SQL that gives new tables their
      owner and grants. empty: tables loaded without rows, because theirs are preserved.
    shadow_sync:
      preserved: tables that keep their live rows. keys: the tables whose changed keys are recorded until the swap.
    Swap:
      dropped_keys: foreign keys dropped from the tables that left. window: the rollback window, if any.
      belongings: table -> indexes and constraints of the new tables. afterwards: SQL that was to follow the COMMIT
      (a rollback records what is left of it).
    Rollback:
      undone: the schema that contains the tables that the rollback replaced.
    adopt_backup_set:
      adopted: an older tool put these tables aside.
    """

    version: int = VERSION
    shadow_oid: int = 0
    shadow_schemas: Mapping[str, int] = field(default_factory=dict)
    lose: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    structure: Mapping[str, str] = field(default_factory=dict)
    xids: tuple[str, ...] = ()
    trigger_states: States = field(default_factory=dict)
    rule_states: States = field(default_factory=dict)
    sequences: tuple[SequencePosition, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    new_protection: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()
    keys: tuple[Watched, ...] = ()
    dropped_keys: tuple[ForeignKey, ...] = ()
    window: Window | None = None
    belongings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    afterwards: tuple[str, ...] = ()
    undone: str = ""
    adopted: bool = False

    def to_json(self) -> dict[str, Any]:
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read a record that a run of any version so far has written.

        Raises RecordError for data that planrun never writes, NewerRecordError for a version that this one does not
        know.
        """
        given = _upgrade(_object(data))
        return cls(**{name: _field(name, read, given[name]) for name, read in _READERS.items() if name in given})


def _upgrade(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data in the form of VERSION.

    0.1 wrote the same fields without `version`; `plain` is missing in its dropped_keys, and it added the names of
    triggers to watched tables, which follow from their OIDs.
    """
    version = _field("version", _integer, data.get("version", 1))
    if version > VERSION:
        raise NewerRecordError(version)
    return {**data, "version": VERSION}


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, ForeignKey):
        return _foreign_key_json(value)
    if isinstance(value, SequencePosition | StreamDigest):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return list(map(_plain, value)) if isinstance(value, tuple | list) else value


def _foreign_key_json(key: ForeignKey) -> dict[str, Any]:
    """Return a foreign key as the record keeps it, without OIDs, which mean nothing in another database."""
    return {name: _plain(value) for name, value in asdict(key).items() if name not in ("oid", "ref_oid")}


# ------------------------------------------------------------------ a member


@dataclass(frozen=True, kw_only=True)
class StreamDigest:
    """What a COPY sent: the columns, the format (binary or text), and the SHA-256 of its bytes."""

    columns: tuple[str, ...]
    format: str
    sha256: str

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read one. Raises RecordError or KeyError."""
        given = _object(data)
        return cls(columns=_texts(given["columns"]), format=_text(given["format"]), sha256=_text(given["sha256"]))


@dataclass(frozen=True, kw_only=True)
class MemberRecord:
    """What is known of one object of a refresh.

    rows, checksum: of a new table as it was loaded, None where that is not known. stream: what the COPY sent that
    filled it, where one COPY filled it and reads back the same. xids: planrun's transactions that wrote rows of this
    table alone. populated: whether a materialized view is to hold rows. comment: of an old relation
    before it got the marker. aside: schema and name that the object got when it was put aside. signature: a function's.
    """

    rows: int | None = None
    checksum: str | None = None
    stream: StreamDigest | None = None
    xids: tuple[str, ...] = ()
    populated: bool = True
    comment: str | None = None
    aside: TableName | None = None
    signature: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is known as JSON data, without empty fields: most members are indexes with no record."""
        return {one.name: _plain(value) for one in fields(self) if (value := getattr(self, one.name)) != one.default}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read one. Raises RecordError."""
        given = _object(data)
        return cls(**{name: _field(name, read, given[name]) for name, read in _MEMBER_READERS.items() if name in given})


# ------------------------------------------------------------------ reading values


def _field(name: str, read: Callable[[Any], T], value: Any) -> T:
    try:
        return read(value)
    except (RecordError, KeyError, TypeError) as exc:
        raise RecordError(name) from exc


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RecordError("an object")
    return value


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise RecordError("a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise RecordError("a text")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise RecordError("an integer")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RecordError("true or false")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, _list(value)))


def _xids(value: Any) -> tuple[str, ...]:
    if not all(one.isascii() and one.isdigit() for one in _texts(value)):
        raise RecordError("numbers of transactions")
    return _texts(value)


def _name(value: Any) -> TableName:
    schema, name = _list(value) if len(_list(value)) == 2 else (None, None)
    return TableName(_text(schema), _text(name))


def _foreign_key(value: Any) -> ForeignKey:
    given = _object(value)
    return ForeignKey(
        name=_text(given["name"]),
        schema=_text(given["schema"]),
        table=_text(given["table"]),
        columns=_texts(given["columns"]),
        ref_schema=_text(given["ref_schema"]),
        ref_table=_text(given["ref_table"]),
        ref_columns=_texts(given["ref_columns"]),
        tail=_text(given["tail"]),
        validated=_boolean(given["validated"]),
        partitioned=_boolean(given["partitioned"]),
        comment=_optional(_text)(given["comment"]),
        plain=_boolean(given.get("plain", True)),
    )


def _optional(read: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else read(value)


def _tuple(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda value: tuple(map(read, _list(value)))


def _mapping(read: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    return lambda value: {name: read(one) for name, one in _object(value).items()}


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "version": _integer,
    "shadow_oid": _integer,
    "shadow_schemas": _mapping(_integer),
    "lose": _texts,
    "foreign_keys": _tuple(_foreign_key),
    "structure": _mapping(_text),
    "xids": _xids,
    "trigger_states": _mapping(_mapping(_text)),
    "rule_states": _mapping(_mapping(_text)),
    "sequences": _tuple(SequencePosition.from_json),
    "columns": _mapping(_texts),
    "new_protection": _texts,
    "empty": _texts,
    "preserved": _texts,
    "keys": _tuple(Watched.from_json),
    "dropped_keys": _tuple(_foreign_key),
    "window": _optional(Window.from_json),
    "belongings": _mapping(_texts),
    "afterwards": _texts,
    "undone": _text,
    "adopted": _boolean,
}
_MEMBER_READERS: Mapping[str, Callable[[Any], Any]] = {
    "rows": _optional(_integer),
    "checksum": _optional(_text),
    "stream": _optional(StreamDigest.from_json),
    "xids": _xids,
    "populated": _boolean,
    "comment": _optional(_text),
    "aside": _optional(_name),
    "signature": _optional(_text),
}
