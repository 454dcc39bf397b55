"""Which relations a statement works on, and what it does to them, as PostgreSQL's parser reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from runner.safesql.syntax import Statement
from runner.sqltext import ident

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node


class Target(NamedTuple):
    """The verb, such as `delete from`, and the names as SQL writes them. optional: they follow IF EXISTS."""

    verb: str
    names: tuple[str, ...]
    optional: bool = False


ROWS = {"insert_stmt": "insert into", "update_stmt": "update", "delete_stmt": "delete from", "merge_stmt": "merge into"}
"""Statements that EXPLAIN accepts and that change rows."""

_OF_ONE = {**ROWS, "alter_table_stmt": "alter", "index_stmt": "create index on", "rename_stmt": "rename"}
_DROPS = {
    "OBJECT_TABLE": "drop table",
    "OBJECT_VIEW": "drop view",
    "OBJECT_MATVIEW": "drop materialized view",
    "OBJECT_FOREIGN_TABLE": "drop foreign table",
    "OBJECT_SEQUENCE": "drop sequence",
    "OBJECT_INDEX": "drop index",
}


def target(one: Statement) -> Target | None:
    """Return what a statement works on; None for a statement that names no relation or is unknown here."""
    node = one.node
    if node is None:
        return None
    if one.kind in _OF_ONE and "relation" in node:
        return Target(_OF_ONE[one.kind], (_name(node["relation"]),), bool(node.get("missing_ok")))
    if one.kind == "truncate_stmt":
        return Target("truncate", tuple(_name(each["RangeVar"]) for each in node["relations"]))
    if one.kind == "drop_stmt" and (verb := _DROPS.get(node["removeType"])):
        return Target(verb, tuple(map(_name_in_drop, node["objects"])), bool(node.get("missing_ok")))
    return None


def _name(relation: Node) -> str:
    return _join_idents([relation[part] for part in ("schemaname", "relname") if part in relation])


def _name_in_drop(item: Node) -> str:
    return _join_idents([each["String"].get("sval", "") for each in item["List"]["items"]])


def _join_idents(parts: list[str]) -> str:
    return ".".join(map(ident, parts))


def after_changes(statements: Iterable[Statement]) -> Iterator[bool]:
    """Yield for each statement whether an earlier one may create, drop or rename what it names."""
    changed = False
    for one in statements:
        yield changed
        changed = changed or one.kind not in (*ROWS, "select_stmt", "truncate_stmt", "comment_stmt", "grant_stmt")
