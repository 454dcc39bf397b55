"""Read names and options out of the nodes of a parse tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node

TEMPORARY = "pg_temp"
"""The schema of temporary tables; only the own connection sees them."""


def table_of(relation: Node) -> TableName:
    temporary = relation.get("relpersistence") == "t"
    return TableName(TEMPORARY if temporary else relation.get("schemaname", ""), relation["relname"])


def text_of(node: Node) -> str:
    return str(node.get("String", {}).get("sval", ""))


def texts_of(nodes: Iterable[Node]) -> list[str]:
    return [text_of(node) for node in nodes]


def name_of_parts(parts: list[str]) -> TableName:
    return TableName(parts[-2] if len(parts) > 1 else "", parts[-1])


def object_parts(node: Node) -> list[str]:
    """Return the name of an object of DROP or COMMENT, as its parts."""
    if "List" in node:
        return texts_of(node["List"]["items"])
    if "TypeName" in node:
        return texts_of(node["TypeName"]["names"])
    return [text_of(node)]


def ranges(nodes: Iterable[Node]) -> Iterator[Node]:
    return (node["RangeVar"] for node in nodes if "RangeVar" in node)


def options_of(node: Node, key: str = "options") -> Mapping[str, Node]:
    return {option["DefElem"].get("defname", ""): option["DefElem"] for option in node.get(key, ())}


def is_on(option: Node | None) -> bool:
    if option is None:
        return False
    value = option.get("arg")
    if value is None:
        return True
    number = value.get("Integer", {}).get("ival", 0)
    return bool(value.get("Boolean", {}).get("boolval") or number or text_of(value).lower() in ("true", "on", "yes"))


def cascades(node: Node) -> bool:
    return bool(node.get("behavior") == "DROP_CASCADE")


def role_of(role: Node) -> TableName:
    """Return a role's name; "" for CURRENT_USER and the like."""
    return TableName("", role["RoleSpec"].get("rolename", ""))
