"""The tables that queries read and change, and the functions that they call, from their parse trees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runner.safesql import builtin_functions
from runner.safesql.nodes import ranges, table_of, texts_of
from runner.safesql.operation_use import USER_FUNCTION, Use

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node


def queries(value: Any, hidden: frozenset[str]) -> Iterator[Use]:
    """Yield the tables of queries inside a node. hidden: names of WITH queries, which are no tables."""
    if isinstance(value, list):
        for each in value:
            yield from queries(each, hidden)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if read := _QUERIES.get(name):
                yield from read(each, hidden)
            else:
                yield from queries(each, hidden)


def _with(node: Node, hidden: frozenset[str]) -> Iterator[tuple[frozenset[str], Iterator[Use]]]:
    """Yield the names that the rest of a query does not take for tables, with the tables of its WITH queries."""
    clause = node.get("withClause", {})
    names = frozenset(each["CommonTableExpr"]["ctename"] for each in clause.get("ctes", ()))
    yield hidden | names, queries(clause, hidden | names)


def _parts(node: Node, hidden: frozenset[str], *left_out: str) -> Iterator[Use]:
    yield from queries({name: each for name, each in node.items() if name not in (*left_out, "withClause")}, hidden)


def _select(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
    if "intoClause" in node:
        yield Use("CREATE TABLE ... AS", table_of(node["intoClause"]["rel"]))
    for inner, queries in _with(node, hidden):
        yield from queries
        yield from _locked_rows(node, inner)
        yield from _parts(node, inner, "lockingClause", "intoClause")


def _locked_rows(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
    """Yield the tables whose rows FOR UPDATE or SHARE locks: those it names, or all of FROM."""
    named = {_alias_or_name(each) for clause in node.get("lockingClause", ()) for each in _of_clause(clause)}
    if "lockingClause" not in node:
        return
    everything = any("lockedRels" not in clause["LockingClause"] for clause in node["lockingClause"])
    for relation in _from(node.get("fromClause", ())):
        if (everything or _alias_or_name(relation) in named) and not _is_hidden(relation, hidden):
            yield Use("SELECT ... FOR", table_of(relation), only=not relation.get("inh"))


def _of_clause(clause: Node) -> Iterator[Node]:
    return ranges(clause["LockingClause"].get("lockedRels", ()))


def _alias_or_name(relation: Node) -> str:
    return str(relation.get("alias", {}).get("aliasname") or relation["relname"])


def _from(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield the tables of FROM, those inside joins too."""
    for node in nodes:
        if "RangeVar" in node:
            yield node["RangeVar"]
        elif "JoinExpr" in node:
            yield from _from((node["JoinExpr"]["larg"], node["JoinExpr"]["rarg"]))


def _is_hidden(relation: Node, hidden: frozenset[str]) -> bool:
    return "schemaname" not in relation and relation["relname"] in hidden


def _range(relation: Node, hidden: frozenset[str]) -> Iterator[Use]:
    if not _is_hidden(relation, hidden):
        yield Use("SELECT", table_of(relation), only=not relation.get("inh"))


def _change(operation: str) -> Callable[[Node, frozenset[str]], Iterator[Use]]:
    def read(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
        yield Use(operation, table_of(node["relation"]), only=not node["relation"].get("inh"))
        for inner, queries in _with(node, hidden):
            yield from queries
            yield from _parts(node, inner, "relation")

    return read


def _call(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
    names = texts_of(node["funcname"])
    if not builtin_functions.is_harmless(names):
        yield Use(USER_FUNCTION, detail=".".join(names))
    yield from _parts(node, hidden, "funcname")


_QUERIES: Mapping[str, Callable[[Node, frozenset[str]], Iterator[Use]]] = {
    "SelectStmt": _select,
    "RangeVar": _range,
    "InsertStmt": _change("INSERT"),
    "UpdateStmt": _change("UPDATE"),
    "DeleteStmt": _change("DELETE"),
    "MergeStmt": _change("MERGE"),
    "FuncCall": _call,
}
