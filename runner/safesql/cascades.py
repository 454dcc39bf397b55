"""What a statement drops or empties together with its dependents, as PostgreSQL's parser reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from runner.safesql.nodes import cascades, name_of_parts, object_parts, table_of
from runner.safesql.syntax import Statement
from runner.sqltext import ident
from runner.words import shown_name

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node


class Root(NamedTuple):
    """kind: relation, column, constraint, schema, type, function, extension, or truncate. schema: "" if none is named.

    part: the column or constraint of the relation. cascade: whether dependents that PostgreSQL would not drop by
    themselves go, too; partitions go in any case.
    """

    kind: str
    schema: str
    name: str
    part: str = ""
    cascade: bool = True

    @property
    def sql_name(self) -> str:
        """The name as sql/sql/cascades.sql.j2 takes it."""
        if self.kind == "extension":
            return self.name
        return ".".join(ident(part) for part in (self.schema, self.name) if part)

    @property
    def display_name(self) -> str:
        return shown_name(self.schema, self.name)


_RELATIONS = ("TABLE", "VIEW", "MATVIEW", "FOREIGN_TABLE", "SEQUENCE")
_KINDS = {
    **{f"OBJECT_{word}": "relation" for word in _RELATIONS},
    "OBJECT_SCHEMA": "schema",
    "OBJECT_TYPE": "type",
    "OBJECT_DOMAIN": "type",
    "OBJECT_FUNCTION": "function",
    "OBJECT_PROCEDURE": "function",
    "OBJECT_ROUTINE": "function",
    "OBJECT_EXTENSION": "extension",
}
_PARTS = {"AT_DropColumn": "column", "AT_DropConstraint": "constraint"}


def query_values(every: Sequence[Root]) -> dict[str, list[object]]:
    """Return the values of sql/sql/cascades.sql.j2 for these roots."""
    return {
        "kinds": [one.kind for one in every],
        "names": [one.sql_name for one in every],
        "parts": [one.part for one in every],
        "cascades": [one.cascade for one in every],
    }


def roots(one: Statement) -> Iterator[Root]:
    """Yield what a statement drops or empties with its dependents; nothing for another statement."""
    node = one.node
    if node is None:
        return
    if one.kind == "drop_stmt":
        yield from _roots_of_drop(node)
    elif one.kind == "truncate_stmt" and cascades(node):
        yield from (Root("truncate", *table_of(each["RangeVar"])) for each in node["relations"])
    elif one.kind == "alter_table_stmt":
        for each in node.get("cmds", ()):
            command = each["AlterTableCmd"]
            if (kind := _PARTS.get(command["subtype"])) and cascades(command):
                yield Root(kind, *table_of(node["relation"]), command["name"])


def _roots_of_drop(node: Node) -> Iterator[Root]:
    kind = _KINDS.get(node["removeType"], "")
    if not kind or not (cascades(node) or kind == "relation"):
        return
    for each in node["objects"]:
        yield Root(kind, *name_of_parts(object_parts(_name_list(each))), cascade=cascades(node))


def _name_list(each: Node) -> Node:
    """Return the name of an object; that of a function stands beside its arguments."""
    return {"List": {"items": each["ObjectWithArgs"]["objname"]}} if "ObjectWithArgs" in each else each
