"""Which operations of the lock table a statement consists of, and upon which relations, read from its parse tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.safesql import builtin_functions
from runner.safesql.builtin_functions import Volatility
from runner.safesql.lock_table import LockMode
from runner.safesql.syntax import Statement, kind_and_node, own_transaction
from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node


class Use(NamedTuple):
    """An operation upon relations. operation: its name in the lock table. relation: what it works on, if it has a name;
    a schema, a role or a type where the table says in_schema, of_owner or with_type. other: the second relation.
    only: children are left out. mode: what LOCK TABLE asks for. detail: what people see behind the operation's name.
    """

    operation: str
    relation: TableName | None = None
    other: TableName | None = None
    only: bool = False
    mode: LockMode | None = None
    detail: str = ""


TEMPORARY = "pg_temp"
"""The schema of temporary tables; only the own connection sees them."""

NO_TABLE = "no table"
USER_FUNCTION = "a user's function"
TOO_DEEP = "too deep"
NOT_IN_TABLE = "not in the table"
PLACEHOLDERS = (NO_TABLE, TOO_DEEP, NOT_IN_TABLE)
"""Operations whose name says nothing of the statement; `detail` does."""


def operations(one: Statement) -> Iterator[Use]:
    """Yield the operations of a statement, those of queries inside it last."""
    found = (Use(TOO_DEEP),) if one.node is None else _operations(one.kind, one.node)
    for use in found:
        yield use._replace(detail=_words(one)) if use.operation in PLACEHOLDERS else use


def _words(one: Statement) -> str:
    """Return what a statement is, in words: of most, the name of the parser's node."""
    words = one.kind.removesuffix("_stmt")
    if one.kind == "drop_stmt" and one.node:
        words = f"drop_{one.node['removeType'].removeprefix('OBJECT_')}"
    elif one.kind == _TRANSACTION and one.node:
        words = one.node["kind"].removeprefix("TRANS_STMT_")
    return _PLAIN.get(words, words).replace("_", " ").upper()


_PLAIN = {
    **{
        "variable_set": "set",
        "variable_show": "show",
        "check_point": "checkpoint",
        "define": "create",
        "rename": "alter",
    },
    **{"create_enum": "create_type", "composite_type": "create_type", "create_range": "create_type"},
    **{"create_event_trig": "create_event_trigger", "alter_event_trig": "alter_event_trigger"},
    **{"alter_object_schema": "alter", "alter_owner": "alter", "close_portal": "close", "constraints_set": "set"},
    **{"create_trig": "create_trigger", "create_am": "create_access_method", "sec_label": "security_label"},
}


def _operations(kind: str, node: Node) -> Iterator[Use]:
    found = [*_read(kind, node), *(use for use in _queries_of(kind, node) if _runs(use, kind, node))]
    yield from dict.fromkeys(found) or (Use(NO_TABLE),)


def _read(kind: str, node: Node) -> Iterator[Use]:
    if read := _READERS.get(kind):
        yield from read(node)
    elif kind in _ROWS:
        return
    elif words := own_transaction(Statement(kind, 0, node)):
        yield Use("PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED" if kind == _TRANSACTION else words)
    else:
        yield Use(NO_TABLE if kind in _NO_TABLE else NOT_IN_TABLE)


_TRANSACTION = "transaction_stmt"
_ROWS = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


def _queries_of(kind: str, node: Node) -> Iterator[Use]:
    if kind in _ROWS:
        return _queries({_camel(kind): node}, frozenset())
    if kind in _BODIES:
        return iter(())
    if kind == "alter_table_stmt":
        commands = (each["AlterTableCmd"] for each in node["cmds"])
        node = {"cmds": [one.get("def", {}) for one in commands if one["subtype"] not in _NO_QUERIES]}
    return _queries({name: each for name, each in node.items() if name not in _NAMES}, frozenset())


_BODIES = ("create_function_stmt", "create_schema_stmt")
"""Statements whose queries run later, or are read as statements of their own."""

_NAMES = ("objects", "relations", "inhRelations")
"""Lists of relations that a statement works on, which are no tables of a query."""

_NO_QUERIES = ("AT_AddInherit", "AT_DropInherit", "AT_ColumnDefault")


def _runs(use: Use, kind: str, node: Node) -> bool:
    """Return whether a function that stands in a statement is called when it runs."""
    if use.operation != USER_FUNCTION:
        return True
    return kind not in _CALL_LATER and not (kind == "explain_stmt" and not _is_on(_options(node).get("analyze")))


_CALL_LATER = (
    *("create_stmt", "view_stmt", "create_trig_stmt", "rule_stmt", "create_policy_stmt", "alter_policy_stmt"),
    *("prepare_stmt", "create_domain_stmt", "create_foreign_table_stmt", "declare_cursor_stmt"),
    *("create_publication_stmt", "alter_publication_stmt", "create_stats_stmt"),
)


def _camel(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_"))


# ------------------------------------------------------------------ names


def _table(relation: Node) -> TableName:
    temporary = relation.get("relpersistence") == "t"
    return TableName(TEMPORARY if temporary else relation.get("schemaname", ""), relation["relname"])


def _text(node: Node) -> str:
    return str(node.get("String", {}).get("sval", ""))


def _names(nodes: Iterable[Node]) -> list[str]:
    return [_text(node) for node in nodes]


def _of_parts(parts: list[str]) -> TableName:
    return TableName(parts[-2] if len(parts) > 1 else "", parts[-1])


def _object_parts(node: Node) -> list[str]:
    """Return the name of an object of DROP or COMMENT, as its parts."""
    if "List" in node:
        return _names(node["List"]["items"])
    if "TypeName" in node:
        return _names(node["TypeName"]["names"])
    return [_text(node)]


def _ranges(nodes: Iterable[Node]) -> Iterator[Node]:
    return (node["RangeVar"] for node in nodes if "RangeVar" in node)


def _options(node: Node, key: str = "options") -> Mapping[str, Node]:
    return {option["DefElem"].get("defname", ""): option["DefElem"] for option in node.get(key, ())}


def _is_on(option: Node | None) -> bool:
    if option is None:
        return False
    value = option.get("arg")
    if value is None:
        return True
    number = value.get("Integer", {}).get("ival", 0)
    return bool(value.get("Boolean", {}).get("boolval") or number or _text(value).lower() in ("true", "on", "yes"))


def _cascades(node: Node) -> bool:
    return bool(node.get("behavior") == "DROP_CASCADE")


def _owner(role: Node) -> TableName:
    """Return a role's name; "" for CURRENT_USER and the like."""
    return TableName("", role["RoleSpec"].get("rolename", ""))


# ------------------------------------------------------------------ queries


def _queries(value: Any, hidden: frozenset[str]) -> Iterator[Use]:
    """Yield the tables of queries inside a node. hidden: names of WITH queries, which are no tables."""
    if isinstance(value, list):
        for each in value:
            yield from _queries(each, hidden)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if read := _QUERIES.get(name):
                yield from read(each, hidden)
            else:
                yield from _queries(each, hidden)


def _with(node: Node, hidden: frozenset[str]) -> Iterator[tuple[frozenset[str], Iterator[Use]]]:
    """Yield the names that the rest of a query does not take for tables, with the tables of its WITH queries."""
    clause = node.get("withClause", {})
    names = frozenset(each["CommonTableExpr"]["ctename"] for each in clause.get("ctes", ()))
    yield hidden | names, _queries(clause, hidden | names)


def _parts(node: Node, hidden: frozenset[str], *left_out: str) -> Iterator[Use]:
    yield from _queries({name: each for name, each in node.items() if name not in (*left_out, "withClause")}, hidden)


def _select(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
    if "intoClause" in node:
        yield Use("CREATE TABLE ... AS", _table(node["intoClause"]["rel"]))
    for inner, queries in _with(node, hidden):
        yield from queries
        yield from _locked_rows(node, inner)
        yield from _parts(node, inner, "lockingClause", "intoClause")


def _locked_rows(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
    """Yield the tables whose rows FOR UPDATE or SHARE locks: those it names, or all of FROM."""
    named = {_aliased(each) for clause in node.get("lockingClause", ()) for each in _of_clause(clause)}
    if "lockingClause" not in node:
        return
    everything = any("lockedRels" not in clause["LockingClause"] for clause in node["lockingClause"])
    for relation in _from(node.get("fromClause", ())):
        if (everything or _aliased(relation) in named) and not _is_hidden(relation, hidden):
            yield Use("SELECT ... FOR", _table(relation), only=not relation.get("inh"))


def _of_clause(clause: Node) -> Iterator[Node]:
    return _ranges(clause["LockingClause"].get("lockedRels", ()))


def _aliased(relation: Node) -> str:
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
        yield Use("SELECT", _table(relation), only=not relation.get("inh"))


def _change(operation: str) -> Callable[[Node, frozenset[str]], Iterator[Use]]:
    def read(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
        yield Use(operation, _table(node["relation"]), only=not node["relation"].get("inh"))
        for inner, queries in _with(node, hidden):
            yield from queries
            yield from _parts(node, inner, "relation")

    return read


def _call(node: Node, hidden: frozenset[str]) -> Iterator[Use]:
    names = _names(node["funcname"])
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


# ------------------------------------------------------------------ ALTER TABLE

_SIMPLE = {
    "AT_ColumnDefault": "ALTER COLUMN SET DEFAULT",
    "AT_SetNotNull": "ALTER COLUMN SET NOT NULL",
    "AT_DropNotNull": "ALTER COLUMN DROP NOT NULL",
    "AT_AlterColumnType": "ALTER COLUMN TYPE",
    "AT_SetStatistics": "ALTER COLUMN SET STATISTICS",
    "AT_SetStorage": "ALTER COLUMN SET STORAGE",
    "AT_SetCompression": "ALTER COLUMN SET COMPRESSION",
    "AT_SetOptions": "ALTER COLUMN SET (...)",
    "AT_ResetOptions": "ALTER COLUMN SET (...)",
    "AT_DropExpression": "ALTER COLUMN DROP EXPRESSION",
    "AT_SetExpression": "ALTER COLUMN SET EXPRESSION",
    "AT_AddIdentity": "ALTER COLUMN ADD IDENTITY",
    "AT_SetIdentity": "ALTER COLUMN SET IDENTITY",
    "AT_DropIdentity": "ALTER COLUMN DROP IDENTITY",
    "AT_ValidateConstraint": "VALIDATE CONSTRAINT",
    "AT_ChangeOwner": "OWNER TO",
    "AT_SetLogged": "SET LOGGED",
    "AT_SetUnLogged": "SET UNLOGGED",
    "AT_SetTableSpace": "SET TABLESPACE",
    "AT_SetAccessMethod": "SET ACCESS METHOD",
    "AT_DropOids": "SET WITHOUT OIDS",
    "AT_ClusterOn": "CLUSTER ON",
    "AT_DropCluster": "CLUSTER ON",
    "AT_ReplicaIdentity": "REPLICA IDENTITY",
    "AT_AddOf": "OF",
    "AT_DropOf": "OF",
    **dict.fromkeys(
        ("AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity"),
        "ROW LEVEL SECURITY",
    ),
    **dict.fromkeys(
        ("AT_EnableRule", "AT_EnableAlwaysRule", "AT_EnableReplicaRule", "AT_DisableRule"), "ENABLE or DISABLE RULE"
    ),
    **dict.fromkeys(
        (
            *("AT_EnableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig", "AT_DisableTrig"),
            *("AT_EnableTrigAll", "AT_DisableTrigAll", "AT_EnableTrigUser", "AT_DisableTrigUser"),
        ),
        "ENABLE or DISABLE TRIGGER",
    ),
}
"""Sub-commands whose operation depends on nothing else."""

INTERNAL = (
    *("AT_AddColumnToView", "AT_AddIndex", "AT_AddIndexConstraint", "AT_CookedColumnDefault", "AT_ReAddComment"),
    *("AT_ReAddConstraint", "AT_ReAddDomainConstraint", "AT_ReAddIndex", "AT_ReAddStatistics", "AT_ReplaceRelOptions"),
)
"""Sub-commands that PostgreSQL makes itself and that no text can hold."""

_NAMED_AS = {
    **{"OBJECT_INDEX": "ALTER INDEX", "OBJECT_VIEW": "ALTER VIEW", "OBJECT_MATVIEW": "ALTER MATERIALIZED VIEW"},
    **{"OBJECT_SEQUENCE": "ALTER SEQUENCE", "OBJECT_FOREIGN_TABLE": "ALTER FOREIGN TABLE"},
}


def _alter_table(node: Node) -> Iterator[Use]:
    if node["objtype"] == "OBJECT_TYPE":
        yield Use("ALTER TYPE of a composite type's attributes", _table(node["relation"]))
        return
    table, only = _table(node["relation"]), not node["relation"].get("inh")
    if node["objtype"] == "OBJECT_INDEX":
        only = all("PartitionCmd" not in each["AlterTableCmd"].get("def", {}) for each in node["cmds"])
    for each in node["cmds"]:
        for operation, other in _sub_commands(each["AlterTableCmd"], node["objtype"]):
            yield Use(operation, table, other, only, detail=_NAMED_AS.get(node["objtype"], ""))


def _sub_commands(command: Node, objtype: str) -> Iterator[tuple[str, TableName | None]]:
    subtype, what = command["subtype"], command.get("def", {})
    if subtype == "AT_ColumnDefault" and not what:
        yield "ALTER TABLE ... ALTER COLUMN DROP DEFAULT", None
    elif simple := _SIMPLE.get(subtype):
        yield f"ALTER TABLE ... {simple}", None
    elif read := _SUB_COMMANDS.get(subtype):
        yield from read(command, what)
    elif subtype in ("AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize"):
        yield _partition(subtype, what["PartitionCmd"], objtype)
    else:
        yield NOT_IN_TABLE, None


def _partition(subtype: str, what: Node, objtype: str) -> tuple[str, TableName]:
    words = {
        "AT_AttachPartition": "ATTACH PARTITION",
        "AT_DetachPartition": "DETACH PARTITION CONCURRENTLY" if what.get("concurrent") else "DETACH PARTITION",
        "AT_DetachPartitionFinalize": "DETACH PARTITION FINALIZE",
    }[subtype]
    of = "INDEX" if objtype == "OBJECT_INDEX" else "TABLE"
    return f"ALTER {of} ... {words}", _table(what["name"])


def _inherit(words: str) -> Callable[[Node, Node], Iterator[tuple[str, TableName | None]]]:
    return lambda command, what: iter(((f"ALTER TABLE ... {words}", _table(what["RangeVar"])),))


def _add_column(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
    column = what["ColumnDef"]
    constraints = [each["Constraint"] for each in column.get("constraints", ())]
    suffix = _column_suffix(column, constraints)
    yield f"ALTER TABLE ... ADD COLUMN{suffix}", None
    filled = bool(suffix) or any(each["contype"] == "CONSTR_DEFAULT" for each in constraints)
    for each in constraints:
        # PostgreSQL does not check a foreign key of a column that is NULL in all rows
        if each["contype"] != "CONSTR_NOTNULL" and (operation := _constraint(each, checked=filled)):
            yield operation


def _column_suffix(column: Node, constraints: list[Node]) -> str:
    """Return what makes adding a column more than a change of the catalog, in the words of the lock table."""
    names = _names(column["typeName"]["names"])
    if names[-1] in _SERIALS:
        return " of a serial type"
    for each in constraints:
        if each["contype"] == "CONSTR_IDENTITY":
            return " as identity"
        if each["contype"] == "CONSTR_GENERATED":
            # without a word it is stored before version 18, which refuses it, and virtual since then
            return " generated and stored" if each.get("generated_kind") == "s" else " generated and virtual"
    if not builtin_functions.is_type(names):
        return " of a user's type"
    return _default_suffix(each["raw_expr"] for each in constraints if each["contype"] == "CONSTR_DEFAULT")


_SERIALS = ("serial", "serial2", "serial4", "serial8", "bigserial", "smallserial")


def _default_suffix(defaults: Iterable[Node]) -> str:
    found = {builtin_functions.volatility(names) for each in defaults for names in calls(each)}
    if Volatility.VOLATILE in found:
        return " with a volatile default"
    return " with a default by a user's function" if Volatility.UNKNOWN in found else ""


def calls(value: Any) -> Iterator[list[str]]:
    """Yield the names, as parts, of all functions that an expression calls."""
    if isinstance(value, list):
        for each in value:
            yield from calls(each)
    elif isinstance(value, Mapping):
        if "funcname" in value:
            yield _names(value["funcname"])
        for each in value.values():
            yield from calls(each)


_CONSTRAINTS = {
    "CONSTR_CHECK": "CHECK",
    "CONSTR_NOTNULL": "NOT NULL",
    "CONSTR_FOREIGN": "FOREIGN KEY",
    "CONSTR_UNIQUE": "UNIQUE",
    "CONSTR_PRIMARY": "PRIMARY KEY",
    "CONSTR_EXCLUSION": "EXCLUDE",
}


def _constraint(one: Node, checked: bool = True) -> tuple[str, TableName | None] | None:
    """Return the operation that adds a constraint, None for what is no constraint of its own, such as DEFAULT."""
    if not (words := _CONSTRAINTS.get(one["contype"])):
        return None
    if one.get("skip_validation") or (one["contype"] == "CONSTR_FOREIGN" and not checked):
        words += " NOT VALID"
    if "indexname" in one:
        words += " USING INDEX"
    return f"ALTER TABLE ... ADD {words}", _table(one["pktable"]) if "pktable" in one else None


def _add_constraint(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
    yield _constraint(what["Constraint"]) or (NOT_IN_TABLE, None)


def _drop(words: str) -> Callable[[Node, Node], Iterator[tuple[str, TableName | None]]]:
    def read(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
        yield f"ALTER TABLE ... {words}{' ... CASCADE' if _cascades(command) else ''}", None

    return read


_ONLY_WRITERS = (
    *("fillfactor", "parallel_workers", "toast_tuple_target", "vacuum_truncate", "vacuum_index_cleanup"),
    *("deduplicate_items", "log_autovacuum_min_duration", "vacuum_max_eager_freeze_failure_rate"),
)
"""Options that do not change what queries do (reloptions.c, ShareUpdateExclusiveLock), besides autovacuum_*."""


def _rel_options(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
    names = [option["DefElem"].get("defname", "") for option in what["List"]["items"]]
    weak = all(name in _ONLY_WRITERS or name.startswith("autovacuum_") for name in names)
    yield f"ALTER TABLE ... SET (...){'' if weak else ' of an option that queries use'}", None


def _alter_constraint(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
    inner = next(iter(what.values()))
    enforced = inner.get("alterEnforceability")
    yield f"ALTER TABLE ... ALTER CONSTRAINT{' ENFORCED' if enforced else ''}", None


def _foreign_options(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
    yield "ALTER FOREIGN TABLE ... OPTIONS", None


_SUB_COMMANDS: Mapping[str, Callable[[Node, Node], Iterator[tuple[str, TableName | None]]]] = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": _add_constraint,
    "AT_AlterConstraint": _alter_constraint,
    "AT_DropColumn": _drop("DROP COLUMN"),
    "AT_DropConstraint": _drop("DROP CONSTRAINT"),
    "AT_SetRelOptions": _rel_options,
    "AT_ResetRelOptions": _rel_options,
    "AT_AddInherit": _inherit("INHERIT"),
    "AT_DropInherit": _inherit("NO INHERIT"),
    "AT_GenericOptions": _foreign_options,
    "AT_AlterColumnGenericOptions": _foreign_options,
}


# ------------------------------------------------------------------ other statements

_RENAMES = {
    "OBJECT_COLUMN": "ALTER TABLE ... RENAME COLUMN",
    "OBJECT_TABCONSTRAINT": "ALTER TABLE ... RENAME CONSTRAINT",
    "OBJECT_TRIGGER": "ALTER TRIGGER",
    "OBJECT_RULE": "ALTER RULE",
    "OBJECT_POLICY": "ALTER POLICY",
    "OBJECT_INDEX": "ALTER INDEX ... RENAME",
    "OBJECT_STATISTIC_EXT": "ALTER STATISTICS",
    "OBJECT_PUBLICATION": "ALTER PUBLICATION of its options",
    "OBJECT_ATTRIBUTE": "ALTER TYPE of a composite type's attributes",
    **dict.fromkeys(
        ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"),
        "ALTER TABLE ... RENAME",
    ),
}


def _rename(node: Node) -> Iterator[Use]:
    operation = _RENAMES.get(node["renameType"], NO_TABLE)
    table = _table(node["relation"]) if "relation" in node else None
    kind = (
        node["relationType"] if node["renameType"] in ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT") else node["renameType"]
    )
    only = table is not None and not node["relation"].get("inh")
    yield Use(operation, table, only=only, detail=_NAMED_AS.get(kind, ""))


def _set_schema(node: Node) -> Iterator[Use]:
    if "relation" not in node:
        yield Use(NO_TABLE)
        return
    yield Use("ALTER TABLE ... SET SCHEMA", _table(node["relation"]), detail=_NAMED_AS.get(node["objectType"], ""))


_DROPS = {
    "OBJECT_TABLE": "DROP TABLE",
    "OBJECT_VIEW": "DROP VIEW",
    "OBJECT_MATVIEW": "DROP MATERIALIZED VIEW",
    "OBJECT_SEQUENCE": "DROP SEQUENCE",
    "OBJECT_FOREIGN_TABLE": "DROP FOREIGN TABLE",
    "OBJECT_INDEX": "DROP INDEX",
    "OBJECT_STATISTIC_EXT": "DROP STATISTICS",
    "OBJECT_SCHEMA": "DROP SCHEMA",
    "OBJECT_PUBLICATION": "DROP PUBLICATION",
    "OBJECT_TYPE": "DROP TYPE",
    "OBJECT_DOMAIN": "DROP TYPE",
}
_DROPS_OF_TABLE = {"OBJECT_TRIGGER": "DROP TRIGGER", "OBJECT_RULE": "DROP RULE", "OBJECT_POLICY": "DROP POLICY"}
_WITHOUT_CASCADE = ("DROP INDEX", "DROP FOREIGN TABLE", "DROP STATISTICS", "DROP PUBLICATION")


def _drop_stmt(node: Node) -> Iterator[Use]:
    kind = node["removeType"]
    for each in node["objects"]:
        parts = _object_parts(each)
        if operation := _DROPS_OF_TABLE.get(kind):
            yield Use(operation, _of_parts(parts[:-1]))
        elif kind == "OBJECT_INDEX":
            yield Use("DROP INDEX CONCURRENTLY" if node.get("concurrent") else "DROP INDEX", _of_parts(parts))
        elif operation := _DROPS.get(kind):
            yield Use(_with_cascade(operation, node), _of_parts(parts))
        else:
            yield Use("DROP ... CASCADE" if _cascades(node) else NO_TABLE)


def _with_cascade(operation: str, node: Node) -> str:
    if _cascades(node) and operation not in _WITHOUT_CASCADE:
        return f"{operation} ... CASCADE"
    return NO_TABLE if operation == "DROP TYPE" else operation


def _create_table(node: Node) -> Iterator[Use]:
    yield Use("CREATE TABLE", _table(node["relation"]))
    if "partbound" in node:
        yield Use("CREATE TABLE ... PARTITION OF", _table(node["inhRelations"][0]["RangeVar"]))
    else:
        yield from (Use("CREATE TABLE ... INHERITS", _table(one)) for one in _ranges(node.get("inhRelations", ())))
    for each in node.get("tableElts", ()):
        if like := each.get("TableLikeClause"):
            yield Use("CREATE TABLE ... LIKE", _table(like["relation"]))
        for constraint in (each, *each.get("ColumnDef", {}).get("constraints", ())):
            if "pktable" in (found := constraint.get("Constraint", {})):
                yield Use("CREATE TABLE ... REFERENCES", _table(found["pktable"]))


def _create_as(node: Node) -> Iterator[Use]:
    view = node["objtype"] == "OBJECT_MATVIEW"
    yield Use("CREATE MATERIALIZED VIEW" if view else "CREATE TABLE ... AS", _table(node["into"]["rel"]))


def _create_view(node: Node) -> Iterator[Use]:
    yield Use("CREATE OR REPLACE VIEW" if node.get("replace") else "CREATE VIEW", _table(node["view"]))


def _refresh(node: Node) -> Iterator[Use]:
    words = " CONCURRENTLY" if node.get("concurrent") else ""
    yield Use(f"REFRESH MATERIALIZED VIEW{words}", _table(node["relation"]))


def _create_index(node: Node) -> Iterator[Use]:
    operation = "CREATE INDEX CONCURRENTLY" if node.get("concurrent") else "CREATE INDEX"
    yield Use(operation, _table(node["relation"]), only=not node["relation"].get("inh"))


def _reindex(node: Node) -> Iterator[Use]:
    table = _table(node["relation"]) if "relation" in node else None
    if table is None:
        yield Use("REINDEX of a schema or database")
    elif _is_on(_options(node, "params").get("concurrently")):
        yield Use("REINDEX CONCURRENTLY", table)
    else:
        yield Use("REINDEX INDEX" if node["kind"] == "REINDEX_OBJECT_INDEX" else "REINDEX TABLE", table)


def _truncate(node: Node) -> Iterator[Use]:
    restart = " ... RESTART IDENTITY" if node.get("restart_seqs") else ""
    words = " ... CASCADE" if _cascades(node) else restart
    for each in _ranges(node["relations"]):
        yield Use(f"TRUNCATE{words}", _table(each), only=not each.get("inh"))


def _lock(node: Node) -> Iterator[Use]:
    mode = LockMode.of_strength(node["mode"])
    for each in _ranges(node["relations"]):
        yield Use("LOCK TABLE", _table(each), only=not each.get("inh"), mode=mode)


def _vacuum(node: Node) -> Iterator[Use]:
    full = " FULL" if _is_on(_options(node).get("full")) else ""
    words = f"VACUUM{full}" if node.get("is_vacuumcmd") else "ANALYZE"
    relations = [each["VacuumRelation"]["relation"] for each in node.get("rels", ())]
    for each in relations:
        yield Use(words, _table(each), only=not each.get("inh"))
    if not relations:
        yield Use(f"{words} of the whole database")


def _cluster(node: Node) -> Iterator[Use]:
    yield Use("CLUSTER", _table(node["relation"])) if "relation" in node else Use("CLUSTER of the whole database")


def _copy(node: Node) -> Iterator[Use]:
    if "relation" in node:
        yield Use("COPY ... FROM" if node.get("is_from") else "COPY ... TO", _table(node["relation"]))


def _create_trigger(node: Node) -> Iterator[Use]:
    other = _table(node["constrrel"]) if "constrrel" in node else None
    yield Use("CREATE TRIGGER", _table(node["relation"]), other)


def _of_table(operation: str, key: str = "relation") -> Callable[[Node], Iterator[Use]]:
    return lambda node: iter((Use(operation, _table(node.get(key) or node["table"])),))


_COMMENTS_ON_PARTS = ("OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")
_RELATIONS = (
    *("OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_SEQUENCE"),
    *("OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE", "OBJECT_COLUMN"),
)


def _on_object(relation: str, part: str = NO_TABLE) -> Callable[[Node], Iterator[Use]]:
    """Return the reader of COMMENT and SECURITY LABEL. relation, part: what they are of a relation, of its parts."""

    def read(node: Node) -> Iterator[Use]:
        kind, parts = node["objtype"], _object_parts(node["object"])
        if kind in _COMMENTS_ON_PARTS:
            yield Use(part, _of_parts(parts[:-1]))
        elif kind in _RELATIONS:
            yield Use(relation, _of_parts(parts[:-1] if kind == "OBJECT_COLUMN" else parts))
        else:
            yield Use(NO_TABLE)

    return read


def _grant(node: Node) -> Iterator[Use]:
    tables = (
        list(_ranges(node.get("objects", ()))) if node.get("objtype") in ("OBJECT_TABLE", "OBJECT_SEQUENCE") else []
    )
    for each in tables:
        yield Use("GRANT or REVOKE on a relation", _table(each))
    if not tables:
        yield Use(NO_TABLE)


def _create_statistics(node: Node) -> Iterator[Use]:
    yield from (Use("CREATE STATISTICS", _table(one)) for one in _ranges(node["relations"]))


def _sequence(operation: str) -> Callable[[Node], Iterator[Use]]:
    def read(node: Node) -> Iterator[Use]:
        owned = _options(node).get("owned_by", {}).get("arg", {}).get("List", {}).get("items", ())
        column = _names(owned)
        yield Use(operation, _table(node["sequence"]), _of_parts(column[:-1]) if len(column) > 1 else None)

    return read


def _alter_enum(node: Node) -> Iterator[Use]:
    yield Use(f"ALTER TYPE ... {'RENAME' if 'oldVal' in node else 'ADD'} VALUE")


def _alter_domain(node: Node) -> Iterator[Use]:
    # subtype: C adds a constraint, O sets NOT NULL, V validates (the grammar, gram.y)
    checks = node["subtype"] in ("C", "O", "V") and not node.get("def", {}).get("Constraint", {}).get("skip_validation")
    yield Use("ALTER DOMAIN that checks rows" if checks else "ALTER DOMAIN", _of_parts(_names(node["typeName"])))


def _publication(tables: str, rest: str) -> Callable[[Node], Iterator[Use]]:
    def read(node: Node) -> Iterator[Use]:
        objects = [each["PublicationObjSpec"].get("pubtable", {}) for each in node.get("pubobjects", ())]
        relations = [each["relation"] for each in objects if "relation" in each]
        for each in relations:
            yield Use(tables, _table(each), only=not each.get("inh"))
        if not relations:
            yield Use(rest)

    return read


def _owned(operation: str) -> Callable[[Node], Iterator[Use]]:
    return lambda node: (Use(operation, _owner(role)) for role in node["roles"])


def _depends(node: Node) -> Iterator[Use]:
    kind = node["objectType"]
    if kind == "OBJECT_INDEX":
        yield Use("ALTER INDEX ... DEPENDS ON EXTENSION", _table(node["relation"]))
    elif kind == "OBJECT_MATVIEW":
        yield Use("ALTER TABLE ... RENAME", _table(node["relation"]))
    elif "relation" in node:
        yield Use("COMMENT ON a part of a table", _table(node["relation"]))
    else:
        yield Use(NO_TABLE)


def _create_schema(node: Node) -> Iterator[Use]:
    for each in node.get("schemaElts", ()):
        yield from _operations(*kind_and_node(each))
    yield Use(NO_TABLE)


def _always(*found: Use) -> Callable[[Node], Iterator[Use]]:
    return lambda node: iter(found)


def _owner_of(node: Node) -> Iterator[Use]:
    publication = node["objectType"] == "OBJECT_PUBLICATION"
    yield Use("ALTER PUBLICATION of its options" if publication else NO_TABLE)


_READERS: Mapping[str, Callable[[Node], Iterator[Use]]] = {
    "alter_table_stmt": _alter_table,
    "alter_table_move_all_stmt": _always(Use("ALTER TABLE ALL IN TABLESPACE")),
    "rename_stmt": _rename,
    "alter_object_schema_stmt": _set_schema,
    "alter_object_depends_stmt": _depends,
    "alter_owner_stmt": _owner_of,
    "drop_stmt": _drop_stmt,
    "create_stmt": _create_table,
    "create_foreign_table_stmt": lambda node: iter((Use("CREATE FOREIGN TABLE", _table(node["base"]["relation"])),)),
    "create_table_as_stmt": _create_as,
    "view_stmt": _create_view,
    "refresh_mat_view_stmt": _refresh,
    "index_stmt": _create_index,
    "reindex_stmt": _reindex,
    "truncate_stmt": _truncate,
    "lock_stmt": _lock,
    "vacuum_stmt": _vacuum,
    "cluster_stmt": _cluster,
    "copy_stmt": _copy,
    "create_trig_stmt": _create_trigger,
    "rule_stmt": _of_table("CREATE RULE"),
    "create_policy_stmt": _of_table("CREATE POLICY", "table"),
    "alter_policy_stmt": _of_table("ALTER POLICY", "table"),
    "comment_stmt": _on_object("COMMENT ON a relation or column", "COMMENT ON a part of a table"),
    "sec_label_stmt": _on_object("SECURITY LABEL"),
    "grant_stmt": _grant,
    "create_stats_stmt": _create_statistics,
    "alter_stats_stmt": _always(Use("ALTER STATISTICS")),
    "create_seq_stmt": _sequence("CREATE SEQUENCE"),
    "alter_seq_stmt": _sequence("ALTER SEQUENCE"),
    "alter_enum_stmt": _alter_enum,
    "alter_domain_stmt": _alter_domain,
    "create_publication_stmt": _publication("CREATE PUBLICATION", "CREATE PUBLICATION of all or a schema's tables"),
    "alter_publication_stmt": _publication("ALTER PUBLICATION", "ALTER PUBLICATION of its options"),
    "create_subscription_stmt": _always(Use("CREATE SUBSCRIPTION")),
    "alter_subscription_stmt": _always(Use("ALTER SUBSCRIPTION")),
    "drop_subscription_stmt": _always(Use("DROP SUBSCRIPTION")),
    "drop_owned_stmt": _owned("DROP OWNED"),
    "reassign_owned_stmt": _owned("REASSIGN OWNED"),
    "do_stmt": _always(Use("DO")),
    "call_stmt": _always(Use("CALL")),
    "execute_stmt": _always(Use("EXECUTE")),
    "create_extension_stmt": _always(Use("CREATE or ALTER EXTENSION")),
    "alter_extension_stmt": _always(Use("CREATE or ALTER EXTENSION")),
    "import_foreign_schema_stmt": _always(Use("IMPORT FOREIGN SCHEMA")),
    "load_stmt": _always(Use("LOAD")),
    "create_function_stmt": _always(Use(NO_TABLE)),
    "create_schema_stmt": _create_schema,
    "explain_stmt": _always(),
    "prepare_stmt": _always(),
    "declare_cursor_stmt": _always(),
}

_NO_TABLE = frozenset(
    f"{name}_stmt"
    for name in re.findall(
        r"\w+",
        """
    alter_collation alter_database alter_database_refresh_coll alter_database_set alter_default_privileges
    alter_event_trig alter_extension_contents alter_fdw alter_foreign_server alter_function alter_op_family
    alter_operator alter_role alter_role_set alter_table_space_options alter_tsconfiguration alter_tsdictionary
    alter_type alter_user_mapping check_point close_portal composite_type constraints_set create_am create_cast
    create_conversion create_domain create_enum create_event_trig create_fdw create_foreign_server create_op_class
    create_op_family create_plang create_range create_role create_transform create_user_mapping
    deallocate define discard drop_role drop_user_mapping fetch grant_role listen notify transaction unlisten
    variable_set variable_show
    """,
    )
)
"""Statements that lock no relation, named after the nodes of the parser."""
