"""Which operations of the lock table the sub-commands of ALTER TABLE are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runner.safesql import builtin_functions
from runner.safesql.builtin_functions import Volatility
from runner.safesql.nodes import cascades, name_of_parts, table_of, texts_of
from runner.safesql.operation_use import NOT_IN_TABLE, ColumnChange, Use
from runner.table_name import TableName

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node

SIMPLE = {
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

NAMED_AS = {
    **{"OBJECT_INDEX": "ALTER INDEX", "OBJECT_VIEW": "ALTER VIEW", "OBJECT_MATVIEW": "ALTER MATERIALIZED VIEW"},
    **{"OBJECT_SEQUENCE": "ALTER SEQUENCE", "OBJECT_FOREIGN_TABLE": "ALTER FOREIGN TABLE"},
}


def alter_table(node: Node) -> Iterator[Use]:
    if node["objtype"] == "OBJECT_TYPE":
        yield Use("ALTER TYPE of a composite type's attributes", table_of(node["relation"]))
        return
    table, only = table_of(node["relation"]), not node["relation"].get("inh")
    if node["objtype"] == "OBJECT_INDEX":
        only = all("PartitionCmd" not in each["AlterTableCmd"].get("def", {}) for each in node["cmds"])
    for each in node["cmds"]:
        command, detail = each["AlterTableCmd"], NAMED_AS.get(node["objtype"], "")
        change = _column_change(command) if command["subtype"] == "AT_AlterColumnType" else None
        for operation, other in _sub_commands(command, node["objtype"]):
            yield Use(operation, table, other, only, detail=detail, change=change)


def _column_change(command: Node) -> ColumnChange:
    column = command["def"]["ColumnDef"]
    kind = column["typeName"]
    sizes = [each.get("A_Const", {}).get("ival", {}).get("ival", 0) for each in kind.get("typmods", ())]
    plain = not ({"raw_default", "collClause"} & column.keys() or "arrayBounds" in kind)
    return ColumnChange(command["name"], name_of_parts(texts_of(kind["names"])), tuple(sizes), plain)


def _sub_commands(command: Node, objtype: str) -> Iterator[tuple[str, TableName | None]]:
    subtype, what = command["subtype"], command.get("def", {})
    if subtype == "AT_ColumnDefault" and not what:
        yield "ALTER TABLE ... ALTER COLUMN DROP DEFAULT", None
    elif simple := SIMPLE.get(subtype):
        yield f"ALTER TABLE ... {simple}", None
    elif read := SUB_COMMANDS.get(subtype):
        yield from read(command, what)
    elif subtype in PARTITIONS:
        yield _partition(subtype, what["PartitionCmd"], objtype)
    else:
        yield NOT_IN_TABLE, None


PARTITIONS = ("AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize")


def _partition(subtype: str, what: Node, objtype: str) -> tuple[str, TableName]:
    words = {
        "AT_AttachPartition": "ATTACH PARTITION",
        "AT_DetachPartition": "DETACH PARTITION CONCURRENTLY" if what.get("concurrent") else "DETACH PARTITION",
        "AT_DetachPartitionFinalize": "DETACH PARTITION FINALIZE",
    }[subtype]
    of = "INDEX" if objtype == "OBJECT_INDEX" else "TABLE"
    return f"ALTER {of} ... {words}", table_of(what["name"])


def _inherit(words: str) -> Callable[[Node, Node], Iterator[tuple[str, TableName | None]]]:
    return lambda command, what: iter(((f"ALTER TABLE ... {words}", table_of(what["RangeVar"])),))


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
    names = texts_of(column["typeName"]["names"])
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
            yield texts_of(value["funcname"])
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
    return f"ALTER TABLE ... ADD {words}", table_of(one["pktable"]) if "pktable" in one else None


def _add_constraint(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
    yield _constraint(what["Constraint"]) or (NOT_IN_TABLE, None)


def _drop(words: str) -> Callable[[Node, Node], Iterator[tuple[str, TableName | None]]]:
    def read(command: Node, what: Node) -> Iterator[tuple[str, TableName | None]]:
        yield f"ALTER TABLE ... {words}{' ... CASCADE' if cascades(command) else ''}", None

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


SUB_COMMANDS: Mapping[str, Callable[[Node, Node], Iterator[tuple[str, TableName | None]]]] = {
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
