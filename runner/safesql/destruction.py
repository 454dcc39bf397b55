"""What SQL removes for good, as PostgreSQL's parser reads it: dropped tables and columns, rows, rewritten types.

A function that a query calls can do anything; this module does not know what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from runner.errors import PlanrunError
from runner.losses import Loss, SqlEffects, same_table
from runner.model import UNKNOWN
from runner.safesql.syntax import BadSql, Statement, statements
from runner.safesql.templates import Templates
from runner.sqltext import Inline
from runner.table_name import TableName
from runner.values import has_unknown

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node

_WORDS = re.compile(r"\b(drop|truncate|delete|update|alter|do|execute|call)\b", re.IGNORECASE)
"""A text without one of these words removes nothing, so most texts need no parser."""

_MAKING = re.compile(r"\bcreate\b|\binto\b", re.IGNORECASE)
_TAG = re.compile(r"\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_OTHER_FILES = re.compile(r"\{%-?\+?\s*(include|import|from|extends)\b")

_DROPS = {
    "OBJECT_TABLE": "drop table",
    "OBJECT_MATVIEW": "drop materialized view",
    "OBJECT_SCHEMA": "drop schema",
    "OBJECT_EXTENSION": "drop extension",
}
_DROPS_BY_CASCADE = {
    f"OBJECT_{word.upper().replace(' ', '_')}": f"drop {word} cascade"
    for word in ("type", "domain", "function", "procedure", "routine", "collation", "access method")
}
"""Objects whose DROP ... CASCADE can drop columns or tables."""

_DEFINITIONS = ("create_function_stmt", "rule_stmt", "prepare_stmt", "view_stmt")
"""Statements inside these do not run here. A prepared statement runs by EXECUTE, which is opaque."""


def sql_effects(given: Mapping[str, Any], templates: Templates) -> SqlEffects:
    """Return what the SQL of a step removes and creates. given: its `with:`, in which a value may be UNKNOWN."""
    text, file, values = given.get("text"), given.get("file"), given.get("values", {})
    if text is UNKNOWN or file is UNKNOWN or values is UNKNOWN:
        return _opaque("SQL that is known only during the run")
    name = str(file) if file else Inline(str(text or ""))
    if not file and not values:
        return text_effects(str(name))
    try:
        ways = dict.fromkeys(str(templates.probe(name, values, truth=truth)) for truth in (True, False))
        hidden = has_unknown(values) and _hides(templates.source(name))
    except PlanrunError:  # it may render with other values than the stand-ins
        return _opaque("SQL that is known only during the run")
    found = [text_effects(one) for one in ways]
    losses = _unstand(one for effects in found for one in effects.losses)
    if hidden and all(one.tables is not None for one in losses):
        losses = (*losses, *_opaque("SQL that depends on values known only during the run").losses)
    made = [set(effects.makes) for effects in found]
    return SqlEffects(losses=losses, makes=tuple(sorted(set.intersection(*made))) if made else ())


def _hides(source: str) -> bool:
    """Return whether a branch that no stand-in reaches may remove something."""
    if "{%" not in source:
        return False
    return bool(_OTHER_FILES.search(source) or _WORDS.search(_TAG.sub("", source)) or _WORDS.search(source))


def _unstand(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Return the losses, with unknown tables where a stand-in is the name."""
    from runner.safesql.standin import NAME

    def with_known_names(one: Loss) -> Loss:
        hit = any(NAME in name for table in one.tables or () for name in table) or NAME in one.schema
        return replace(one, what=one.what.replace(NAME, "..."), tables=None, schema="") if hit else one

    return tuple(dict.fromkeys(map(with_known_names, losses)))


def _opaque(what: str) -> SqlEffects:
    return SqlEffects(losses=(Loss(what=what, opaque=True),))


@lru_cache(maxsize=4096)
def text_effects(text: str) -> SqlEffects:
    """Return what a finished SQL text removes, except what it created itself before."""
    if not _WORDS.search(text) and not _MAKING.search(text):
        return SqlEffects()
    try:
        found = statements(text)
    except BadSql:
        return _opaque("SQL that PostgreSQL's parser refuses")
    losses: list[Loss] = []
    makes: list[TableName] = []
    for one in found:
        losses += (loss for loss in _losses(one) if not _own(loss, makes))
        makes += _makes(one)
    return SqlEffects(losses=tuple(dict.fromkeys(losses)), makes=tuple(makes))


def _own(loss: Loss, makes: list[TableName]) -> bool:
    return bool(loss.tables) and all(any(same_table(one, made) for made in makes) for one in loss.tables or ())


# ------------------------------------------------------------------ one statement


def _losses(one: Statement) -> Iterator[Loss]:
    if one.node is None:
        if _WORDS.fullmatch(one.kind) or one.kind in ("with", "explain", "copy"):
            yield Loss(what=f"{one.kind.upper()} that is too deeply nested to be read", opaque=True)
        return
    if told := _OPAQUE.get(one.kind):
        yield Loss(what=told, opaque=True)
    elif take := _BY_KIND.get(one.kind):
        yield from take(one.node)
    if one.kind not in _DEFINITIONS:
        yield from _nested_losses(one.node)


_OPAQUE = {
    "do_stmt": "a DO block",
    "execute_stmt": "EXECUTE of a prepared statement",
    "call_stmt": "CALL of a procedure",
}


def _nested_losses(value: Any) -> Iterator[Loss]:
    """Yield what DELETE and UPDATE inside other statements remove: in WITH, EXPLAIN ANALYZE, COPY (...)."""
    if isinstance(value, list):
        for each in value:
            yield from _nested_losses(each)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if name in _ROWS:
                yield from _of_all_rows(_ROWS[name], each)
            yield from _nested_losses(each)


_ROWS = {"DeleteStmt": "delete from", "UpdateStmt": "update"}


def _of_all_rows(verb: str, node: Node) -> Iterator[Loss]:
    if "whereClause" not in node or _is_constant(node["whereClause"]):
        yield _of_table(f"{verb} {{}} without WHERE", _table(node["relation"]))


def _is_constant(where: Node) -> bool:
    """Return whether a WHERE is `true` or compares constants, as in `where 1 = 1`."""
    if compared := where.get("A_Expr"):
        return all("A_Const" in compared.get(side, {}) for side in ("lexpr", "rexpr"))
    return "A_Const" in where


def _of_table(what: str, table: TableName) -> Loss:
    return Loss(what=what.format(table), tables=(table,))


def _table(relation: Node) -> TableName:
    return TableName(relation.get("schemaname", ""), relation["relname"])


def _drop(node: Node) -> Iterator[Loss]:
    kind = node["removeType"]
    if kind in ("OBJECT_TABLE", "OBJECT_MATVIEW"):
        for each in node["objects"]:
            names = [_text(part) for part in each["List"]["items"]][-2:]
            yield _of_table(f"{_DROPS[kind]} {{}}", TableName(names[0] if len(names) > 1 else "", names[-1]))
    elif kind == "OBJECT_SCHEMA":
        for each in node["objects"]:
            yield Loss(what=f"drop schema {_text(each)}", schema=_text(each))
    elif kind in _DROPS:
        yield Loss(what=_DROPS[kind])
    elif kind in _DROPS_BY_CASCADE and _cascades(node):
        yield Loss(what=_DROPS_BY_CASCADE[kind])


def _text(node: Node) -> str:
    return str(node["String"].get("sval", ""))


def _cascades(node: Node) -> bool:
    return bool(node.get("behavior") == "DROP_CASCADE")


def _truncate(node: Node) -> Iterator[Loss]:
    for each in node["relations"]:
        yield _of_table("truncate {}", _table(each["RangeVar"]))
    if _cascades(node):
        yield Loss(what="truncate ... cascade, of every table that refers to these")


def _alter_table(node: Node) -> Iterator[Loss]:
    table = _table(node["relation"])
    for each in node["cmds"]:
        command = each["AlterTableCmd"]
        match command["subtype"]:
            case "AT_DropColumn":
                yield _of_table(f"drop column {command['name']} of {{}}", table)
            case "AT_AlterColumnType":
                yield _of_table(f"new type of column {command['name']} of {{}}", table)


_BY_KIND: Mapping[str, Callable[[Node], Iterator[Loss]]] = {
    "drop_stmt": _drop,
    "truncate_stmt": _truncate,
    "alter_table_stmt": _alter_table,
    "drop_owned_stmt": lambda node: iter((Loss(what="drop owned"),)),
    "dropdb_stmt": lambda node: iter((Loss(what=f"drop database {node['dbname']}"),)),
    "delete_stmt": lambda node: _of_all_rows("delete from", node),
    "update_stmt": lambda node: _of_all_rows("update", node),
}


def _makes(one: Statement) -> Iterator[TableName]:
    """Yield the table that a statement certainly creates: IF NOT EXISTS may find one with rows."""
    node = one.node
    if node is None:
        return
    if one.kind == "create_stmt" and not node.get("if_not_exists"):
        yield _table(node["relation"])
    elif one.kind == "create_table_as_stmt" and not node.get("if_not_exists"):
        yield _table(node["into"]["rel"])
    elif one.kind == "select_stmt" and "intoClause" in node:
        yield _table(node["intoClause"]["rel"])
