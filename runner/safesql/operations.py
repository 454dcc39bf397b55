"""Which operations of the lock table a statement consists of, and upon which relations, read from its parse tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from runner.safesql.alter_table import NAMED_AS, alter_table
from runner.safesql.lock_table import LockMode
from runner.safesql.nodes import (
    cascades,
    is_on,
    name_of_parts,
    object_parts,
    options_of,
    ranges,
    role_of,
    table_of,
    texts_of,
)
from runner.safesql.operation_use import NO_TABLE, NOT_IN_TABLE, PLACEHOLDERS, TOO_DEEP, USER_FUNCTION, Use
from runner.safesql.query_tables import queries
from runner.safesql.syntax import Statement, kind_and_node, own_transaction

if TYPE_CHECKING:
    from runner.safesql.pg_query import Node


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
    if read := READERS.get(kind):
        yield from read(node)
    elif kind in ROWS:
        return
    elif words := own_transaction(Statement(kind, 0, node)):
        yield Use("PREPARE TRANSACTION, COMMIT PREPARED, ROLLBACK PREPARED" if kind == _TRANSACTION else words)
    else:
        yield Use(NO_TABLE if kind in NO_TABLES else NOT_IN_TABLE)


_TRANSACTION = "transaction_stmt"
ROWS = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt", "merge_stmt")


def _queries_of(kind: str, node: Node) -> Iterator[Use]:
    if kind in ROWS:
        return queries({_camel(kind): node}, frozenset())
    if kind in _BODIES:
        return iter(())
    if kind == "alter_table_stmt":
        commands = (each["AlterTableCmd"] for each in node["cmds"])
        node = {"cmds": [one.get("def", {}) for one in commands if one["subtype"] not in _NO_QUERIES]}
    return queries({name: each for name, each in node.items() if name not in _NAMES}, frozenset())


_BODIES = ("create_function_stmt", "create_schema_stmt")
"""Statements whose queries run later, or are read as statements of their own."""

_NAMES = ("objects", "relations", "inhRelations")
"""Lists of relations that a statement works on, which are no tables of a query."""

_NO_QUERIES = ("AT_AddInherit", "AT_DropInherit", "AT_ColumnDefault")


def _runs(use: Use, kind: str, node: Node) -> bool:
    """Return whether a function that stands in a statement is called when it runs."""
    if use.operation != USER_FUNCTION:
        return True
    return kind not in _CALL_LATER and not (kind == "explain_stmt" and not is_on(options_of(node).get("analyze")))


_CALL_LATER = (
    *("create_stmt", "view_stmt", "create_trig_stmt", "rule_stmt", "create_policy_stmt", "alter_policy_stmt"),
    *("prepare_stmt", "create_domain_stmt", "create_foreign_table_stmt", "declare_cursor_stmt"),
    *("create_publication_stmt", "alter_publication_stmt", "create_stats_stmt"),
)


def _camel(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_"))


# ------------------------------------------------------------------ statements

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
    table = table_of(node["relation"]) if "relation" in node else None
    kind = (
        node["relationType"] if node["renameType"] in ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT") else node["renameType"]
    )
    only = table is not None and not node["relation"].get("inh")
    yield Use(operation, table, only=only, detail=NAMED_AS.get(kind, ""))


def _set_schema(node: Node) -> Iterator[Use]:
    if "relation" not in node:
        yield Use(NO_TABLE)
        return
    yield Use("ALTER TABLE ... SET SCHEMA", table_of(node["relation"]), detail=NAMED_AS.get(node["objectType"], ""))


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
        parts = object_parts(each)
        if operation := _DROPS_OF_TABLE.get(kind):
            yield Use(operation, name_of_parts(parts[:-1]))
        elif kind == "OBJECT_INDEX":
            yield Use("DROP INDEX CONCURRENTLY" if node.get("concurrent") else "DROP INDEX", name_of_parts(parts))
        elif operation := _DROPS.get(kind):
            yield Use(_with_cascade(operation, node), name_of_parts(parts))
        else:
            yield Use("DROP ... CASCADE" if cascades(node) else NO_TABLE)


def _with_cascade(operation: str, node: Node) -> str:
    if cascades(node) and operation not in _WITHOUT_CASCADE:
        return f"{operation} ... CASCADE"
    return NO_TABLE if operation == "DROP TYPE" else operation


def _create_table(node: Node) -> Iterator[Use]:
    yield Use("CREATE TABLE", table_of(node["relation"]))
    if "partbound" in node:
        yield Use("CREATE TABLE ... PARTITION OF", table_of(node["inhRelations"][0]["RangeVar"]))
    else:
        yield from (Use("CREATE TABLE ... INHERITS", table_of(one)) for one in ranges(node.get("inhRelations", ())))
    for each in node.get("tableElts", ()):
        if like := each.get("TableLikeClause"):
            yield Use("CREATE TABLE ... LIKE", table_of(like["relation"]))
        for constraint in (each, *each.get("ColumnDef", {}).get("constraints", ())):
            if "pktable" in (found := constraint.get("Constraint", {})):
                yield Use("CREATE TABLE ... REFERENCES", table_of(found["pktable"]))


def _create_as(node: Node) -> Iterator[Use]:
    view = node["objtype"] == "OBJECT_MATVIEW"
    yield Use("CREATE MATERIALIZED VIEW" if view else "CREATE TABLE ... AS", table_of(node["into"]["rel"]))


def _create_view(node: Node) -> Iterator[Use]:
    yield Use("CREATE OR REPLACE VIEW" if node.get("replace") else "CREATE VIEW", table_of(node["view"]))


def _refresh(node: Node) -> Iterator[Use]:
    words = " CONCURRENTLY" if node.get("concurrent") else ""
    yield Use(f"REFRESH MATERIALIZED VIEW{words}", table_of(node["relation"]))


def _create_index(node: Node) -> Iterator[Use]:
    operation = "CREATE INDEX CONCURRENTLY" if node.get("concurrent") else "CREATE INDEX"
    yield Use(operation, table_of(node["relation"]), only=not node["relation"].get("inh"))


def _reindex(node: Node) -> Iterator[Use]:
    table = table_of(node["relation"]) if "relation" in node else None
    if table is None:
        yield Use("REINDEX of a schema or database")
    elif is_on(options_of(node, "params").get("concurrently")):
        yield Use("REINDEX CONCURRENTLY", table)
    else:
        yield Use("REINDEX INDEX" if node["kind"] == "REINDEX_OBJECT_INDEX" else "REINDEX TABLE", table)


def _truncate(node: Node) -> Iterator[Use]:
    restart = " ... RESTART IDENTITY" if node.get("restart_seqs") else ""
    words = " ... CASCADE" if cascades(node) else restart
    for each in ranges(node["relations"]):
        yield Use(f"TRUNCATE{words}", table_of(each), only=not each.get("inh"))


def _lock(node: Node) -> Iterator[Use]:
    mode = LockMode.of_strength(node["mode"])
    for each in ranges(node["relations"]):
        yield Use("LOCK TABLE", table_of(each), only=not each.get("inh"), mode=mode)


def _vacuum(node: Node) -> Iterator[Use]:
    full = " FULL" if is_on(options_of(node).get("full")) else ""
    words = f"VACUUM{full}" if node.get("is_vacuumcmd") else "ANALYZE"
    relations = [each["VacuumRelation"]["relation"] for each in node.get("rels", ())]
    for each in relations:
        yield Use(words, table_of(each), only=not each.get("inh"))
    if not relations:
        yield Use(f"{words} of the whole database")


def _cluster(node: Node) -> Iterator[Use]:
    yield Use("CLUSTER", table_of(node["relation"])) if "relation" in node else Use("CLUSTER of the whole database")


def _copy(node: Node) -> Iterator[Use]:
    if "relation" in node:
        yield Use("COPY ... FROM" if node.get("is_from") else "COPY ... TO", table_of(node["relation"]))


def _create_trigger(node: Node) -> Iterator[Use]:
    other = table_of(node["constrrel"]) if "constrrel" in node else None
    yield Use("CREATE TRIGGER", table_of(node["relation"]), other)


def _of_table(operation: str, key: str = "relation") -> Callable[[Node], Iterator[Use]]:
    return lambda node: iter((Use(operation, table_of(node.get(key) or node["table"])),))


_COMMENTS_ON_PARTS = ("OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")
_RELATIONS = (
    *("OBJECT_TABLE", "OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_SEQUENCE"),
    *("OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE", "OBJECT_COLUMN"),
)


def _on_object(relation: str, part: str = NO_TABLE) -> Callable[[Node], Iterator[Use]]:
    """Return the reader of COMMENT and SECURITY LABEL. relation, part: what they are of a relation, of its parts."""

    def read(node: Node) -> Iterator[Use]:
        kind, parts = node["objtype"], object_parts(node["object"])
        if kind in _COMMENTS_ON_PARTS:
            yield Use(part, name_of_parts(parts[:-1]))
        elif kind in _RELATIONS:
            yield Use(relation, name_of_parts(parts[:-1] if kind == "OBJECT_COLUMN" else parts))
        else:
            yield Use(NO_TABLE)

    return read


def _grant(node: Node) -> Iterator[Use]:
    tables = list(ranges(node.get("objects", ()))) if node.get("objtype") in ("OBJECT_TABLE", "OBJECT_SEQUENCE") else []
    for each in tables:
        yield Use("GRANT or REVOKE on a relation", table_of(each))
    if not tables:
        yield Use(NO_TABLE)


def _create_statistics(node: Node) -> Iterator[Use]:
    yield from (Use("CREATE STATISTICS", table_of(one)) for one in ranges(node["relations"]))


def _sequence(operation: str) -> Callable[[Node], Iterator[Use]]:
    def read(node: Node) -> Iterator[Use]:
        owned = options_of(node).get("owned_by", {}).get("arg", {}).get("List", {}).get("items", ())
        column = texts_of(owned)
        yield Use(operation, table_of(node["sequence"]), name_of_parts(column[:-1]) if len(column) > 1 else None)

    return read


def _alter_enum(node: Node) -> Iterator[Use]:
    yield Use(f"ALTER TYPE ... {'RENAME' if 'oldVal' in node else 'ADD'} VALUE")


def _alter_domain(node: Node) -> Iterator[Use]:
    # subtype: C adds a constraint, O sets NOT NULL, V validates (the grammar, gram.y)
    checks = node["subtype"] in ("C", "O", "V") and not node.get("def", {}).get("Constraint", {}).get("skip_validation")
    yield Use("ALTER DOMAIN that checks rows" if checks else "ALTER DOMAIN", name_of_parts(texts_of(node["typeName"])))


def _publication(tables: str, rest: str) -> Callable[[Node], Iterator[Use]]:
    def read(node: Node) -> Iterator[Use]:
        objects = [each["PublicationObjSpec"].get("pubtable", {}) for each in node.get("pubobjects", ())]
        relations = [each["relation"] for each in objects if "relation" in each]
        for each in relations:
            yield Use(tables, table_of(each), only=not each.get("inh"))
        if not relations:
            yield Use(rest)

    return read


def _by_owner(operation: str) -> Callable[[Node], Iterator[Use]]:
    return lambda node: (Use(operation, role_of(role)) for role in node["roles"])


def _depends(node: Node) -> Iterator[Use]:
    kind = node["objectType"]
    if kind == "OBJECT_INDEX":
        yield Use("ALTER INDEX ... DEPENDS ON EXTENSION", table_of(node["relation"]))
    elif kind == "OBJECT_MATVIEW":
        yield Use("ALTER TABLE ... RENAME", table_of(node["relation"]))
    elif "relation" in node:
        yield Use("COMMENT ON a part of a table", table_of(node["relation"]))
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


READERS: Mapping[str, Callable[[Node], Iterator[Use]]] = {
    "alter_table_stmt": alter_table,
    "alter_table_move_all_stmt": _always(Use("ALTER TABLE ALL IN TABLESPACE")),
    "rename_stmt": _rename,
    "alter_object_schema_stmt": _set_schema,
    "alter_object_depends_stmt": _depends,
    "alter_owner_stmt": _owner_of,
    "drop_stmt": _drop_stmt,
    "create_stmt": _create_table,
    "create_foreign_table_stmt": lambda node: iter((Use("CREATE FOREIGN TABLE", table_of(node["base"]["relation"])),)),
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
    "drop_owned_stmt": _by_owner("DROP OWNED"),
    "reassign_owned_stmt": _by_owner("REASSIGN OWNED"),
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

NO_TABLES = frozenset(
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
