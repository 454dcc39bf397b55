"""What is in the catalog of a database, as a record, and in what two of them differ. Pure.

The record names every object that applications meet: schemas, tables, columns, constraints, indexes, triggers,
policies, rules, views, sequences, functions, types, extensions, publications, grants (sql/catalog/objects.sql).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

from runner.words import plural

VERSION = 1
"""Of the record."""

_ORDER = "column order"
_PARTS = frozenset({"column", _ORDER, "constraint", "index", "trigger", "policy", "rule", "statistics", "grants"})
"""Kinds that come and go with the relation that they are of."""


class ObjectKey(NamedTuple):
    """What identifies an object: `column`, `public.users.email`. of: the relation that it is a part of, or ""."""

    kind: str
    name: str
    of: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The objects of a database, each with the text that describes it."""

    objects: Mapping[ObjectKey, str]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Self:
        """Return the record of rows of sql/catalog/objects.sql."""
        return cls(objects={ObjectKey(row["kind"], row["name"], row["of"]): row["text"] for row in rows})

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, "objects": [[*key, text] for key, text in sorted(self.objects.items())]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read one. Raises ValueError for another version."""
        if data.get("version") != VERSION:
            raise ValueError(f"version {data.get('version')!r} of a catalog is not known here")
        return cls(objects={ObjectKey(kind, name, of): text for kind, name, of, text in data["objects"]})


class Fate(StrEnum):
    """What differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One object that two catalogs do not have alike. before, after: its texts, "" where it is not there.

    parts: how many objects of each kind came or went with it: the columns, constraints and so on of a table.
    """

    fate: Fate
    key: ObjectKey
    before: str = ""
    after: str = ""
    parts: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        told = {"fate": self.fate.value, "kind": self.key.kind, "name": self.key.name, "of": self.key.of}
        return told | {"before": self.before, "after": self.after, "parts": dict(self.parts)}


def difference(before: Catalog, after: Catalog) -> tuple[Change, ...]:
    """Return what is not alike, by relation and name. The parts of a relation that came or went are only counted.

    >>> one = Catalog(objects={ObjectKey("table", "t", "t"): "owner a", ObjectKey("column", "t.n", "t"): "int"})
    >>> two = Catalog(objects={ObjectKey("table", "t", "t"): "owner a", ObjectKey("column", "t.n", "t"): "bigint"})
    >>> [(change.fate.value, str(change.key)) for change in difference(one, two)]
    [('changed', 'column t.n')]
    >>> [(change.fate.value, str(change.key), change.parts) for change in difference(one, Catalog(objects={}))]
    [('removed', 'table t', {'column': 1})]
    """
    whole = {key.of for key in before.objects.keys() ^ after.objects.keys() if key.of and key.kind not in _PARTS}
    parts: dict[tuple[str, bool], dict[str, int]] = {}
    found = list[Change]()
    for key in before.objects.keys() | after.objects.keys():
        old, new = before.objects.get(key, ""), after.objects.get(key, "")
        if old == new or (key.kind == _ORDER and old and new and _same_order(old, new)):
            continue
        if key.of in whole and key.kind in _PARTS and not (old and new):
            if key.kind not in (_ORDER, "grants"):
                counts = parts.setdefault((key.of, bool(new)), {})
                counts[key.kind] = counts.get(key.kind, 0) + 1
            continue
        found.append(Change(fate=_fate(old, new), key=key, before=old, after=new))
    counted = [_with_parts(change, parts) for change in found]
    return tuple(sorted(counted, key=lambda one: (one.key.of or one.key.name, one.key.kind in _PARTS, one.key)))


def _same_order(old: str, new: str) -> bool:
    """Return whether the columns that both have stand in the same order: that others came or went is told of them."""
    before, after = old.split(", "), new.split(", ")
    return [one for one in before if one in after] == [one for one in after if one in before]


def _fate(old: str, new: str) -> Fate:
    return Fate.ADDED if not old else Fate.REMOVED if not new else Fate.CHANGED


def _with_parts(change: Change, parts: Mapping[tuple[str, bool], Mapping[str, int]]) -> Change:
    if change.key.kind in _PARTS or change.fate is Fate.CHANGED:
        return change
    counts = parts.get((change.key.of, change.fate is Fate.ADDED), {})
    return replace(change, parts=dict(sorted(counts.items())))


_PLURALS = {"index": "indexes", "policy": "policies", "statistics": "statistics"}


def lines(changes: Iterable[Change], *, verbose: bool = False) -> Iterator[str]:
    """Yield the changes for people: one line each, and what became other. verbose: also the texts of new objects."""
    for change in changes:
        counts = (plural(count, kind, _PLURALS.get(kind, "")) for kind, count in change.parts.items())
        also = f" with {', '.join(counts)}" if change.parts else ""
        mark = {"added": "+", "removed": "-", "changed": "~"}[change.fate]
        if change.fate is Fate.CHANGED:
            yield f"{mark} {change.key}"
            yield from (f"    {line}" for line in _changed_lines(change.before, change.after))
        elif verbose or change.key.kind in _PARTS:
            yield f"{mark} {change.key}{also}: {_one_line(change.after or change.before)}"
        else:
            yield f"{mark} {change.key}{also}"


def _changed_lines(before: str, after: str) -> Iterator[str]:
    old, new = before.splitlines(), after.splitlines()
    if len(old) == len(new) == 1:
        yield f"- {before}"
        yield f"+ {after}"
        return
    for line in difflib.unified_diff(old, new, lineterm="", n=0):
        if not line.startswith(("---", "+++", "@@")):
            yield f"{line[0]} {line[1:]}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
