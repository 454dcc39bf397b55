"""The objects that depend on tables which will be replaced, and what happens to each: the object ledger.

All dependencies are by OID. So a view is built again on the new tables, and the text of a policy is run again when the
name means the new table. An object that can be neither moved nor created again is lost, which stops the refresh unless
the plan allows it. Rows come from sql/catalog/dependents.sql.j2.
Sources: PostgreSQL docs 52.18 (pg_depend), 41 (rules); ruleutils.c.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from runner.errors import PlanrunError
from runner.record import dataclass
from runner.refresh import naming
from runner.refresh.catalog.lost_dependents import Found, Lost, Row, key_of, what_of
from runner.sqltext import SqlText, ident, join_statements, literal
from runner.table_name import Named, TableName
from runner.words import one_line

QUERY = "catalog/dependents.sql.j2"
"""values: schema, names. Run with an empty search_path: the texts must be qualified."""

SETTINGS = SqlText("set local check_function_bodies = off")
"""Runs before the statements of Repoint and Function: a body that is a string needs another search_path for its
names."""


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    type: str
    collation: str = ""
    default: str = ""


@dataclass(frozen=True, kw_only=True)
class Index:
    """An index of a materialized view; `definition` is its CREATE INDEX."""

    name: str
    definition: str
    tablespace: str = ""
    clustered: bool = False


@dataclass(frozen=True, kw_only=True)
class Derived(Named):
    """A view or materialized view that is built again. `definition` is its query; options are as in reloptions.

    kind: view or matview. tables: OIDs of the replaced tables that it reads, also through others. through: functions
    that fill a materialized view from live tables, which are the old ones until the swap: it must be refreshed then.
    """

    oid: int
    schema: str
    name: str
    kind: str
    identity: str
    definition: str
    owner: str
    options: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    populated: bool = False
    method: str = ""
    tablespace: str = ""
    indexes: tuple[Index, ...] = ()
    statistics: tuple[tuple[str, str, str], ...] = ()
    tables: tuple[int, ...] = ()
    through: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        return f"{'materialized view' if self.kind == 'matview' else 'view'} {self.identity}"

    @property
    def line(self) -> str:
        late = f", filled again after the swap: {', '.join(self.through)} may read live tables" if self.through else ""
        return f"{self.what}: rebuilt{late}"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A materialized view that reads no replaced table according to the catalog, but calls a function that may read one
    by name.

    named: its query or the function contains the name of one, so it is filled again. concurrently: it can be filled
    while others read it. mine: this role may fill it.
    """

    identity: str
    name: SqlText
    calls: tuple[str, ...]
    named: bool
    concurrently: bool
    mine: bool

    @property
    def statement(self) -> SqlText:
        return SqlText(f"refresh materialized view {'concurrently ' if self.concurrently else ''}{self.name}")

    @property
    def is_filled(self) -> bool:
        return self.named and self.mine

    @property
    def line(self) -> str:
        calls = f"it calls {', '.join(self.calls)}"
        if self.is_filled:
            return f"materialized view {self.identity}: filled again after the swap: {calls}"
        if self.named:
            return f"materialized view {self.identity}: keeps its old rows, {calls}; its owner runs: {self.statement}"
        return f"materialized view {self.identity}: left alone, {calls}; if that reads these tables: {self.statement}"


@dataclass(frozen=True, kw_only=True)
class Repoint:
    """An object that stays; `statement` runs when the names mean the new relations.

    lock: the table or view that the statement takes ACCESS EXCLUSIVE, None for a function. uses: (schema, name,
    column, type) of what the text names in the replaced relations; column is "" for a relation as a whole.
    """

    what: str
    statement: SqlText
    catalog: str
    oid: int
    lock: TableName | None = None
    uses: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Function(Named):
    """A function with the row type of a replaced relation in its signature: the old one is put aside like its table.

    `leave` runs before the tables are renamed, `enter` after it. Grants are not part of it. signature: its parameters
    with their names and defaults, and its result: a function that has the same can be replaced by it.
    """

    what: str
    oid: int
    schema: str
    name: str
    arguments: str
    signature: str
    owner: str
    comment: str
    aside: str
    leave: SqlText
    enter: SqlText


@dataclass(frozen=True, kw_only=True)
class Dependents:
    """All dependents. replaced: OID and name of each table that leaves, its partitions and its sequences.

    foreign_key_tables: those that foreign_keys belong to, in the same order.
    unknown: names in `lose` that match nothing, perhaps mistyped. views_given_up (OIDs) and
    functions_given_up: objects that the plan accepts to lose and that are put aside, so that a rollback puts them back.
    """

    replaced: Mapping[int, TableName]
    derived: tuple[Derived, ...] = ()
    functions: tuple[Function, ...] = ()
    repoint: tuple[Repoint, ...] = ()
    foreign_keys: tuple[str, ...] = ()
    foreign_key_tables: tuple[TableName, ...] = ()
    carried: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    outside: tuple[Outside, ...] = ()
    lost: tuple[Lost, ...] = ()
    views_given_up: tuple[int, ...] = ()
    functions_given_up: tuple[Function, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def losses_to_refuse(self) -> tuple[Lost, ...]:
        """The objects that would be lost although the plan does not accept it."""
        return tuple(one for one in self.lost if not one.accepted)

    @property
    def locks(self) -> tuple[TableName, ...]:
        """The tables outside the refresh that are changed, each once."""
        return tuple(sorted({one.lock for one in self.repoint if one.lock}))

    def lines(self) -> tuple[str, ...]:
        """Return the object ledger for people: what is lost first, then one line for each object."""
        told = [one.line for one in self.derived]
        told += [f"{one.what}: created again with the new row type" for one in self.functions]
        told += [f"{one.what}: re-pointed" for one in self.repoint]
        told += [f"{what}: re-pointed" for what in self.foreign_keys]
        told += [f"{what}: carried" for what in self.carried]
        told += [one.line for one in self.outside]
        lost = sorted(one.line for one in self.lost)
        return tuple(map(one_line, [*lost, *sorted([*told, *self.left])]))


def from_rows(rows: Iterable[Row], *, lose: Collection[str] = ()) -> Dependents:
    """Sort out what the query found. lose: identities of what may be lost, `public.v` or `view public.v`.

    What is in `lose` is lost even where it could be kept, so that a view which the new tables no longer fit can go.
    Raises PlanrunError for views that use each other.
    """
    found = Found(rows, frozenset(lose))
    return Dependents(
        replaced={row["oid"]: TableName.of(row) for row in found.of("replaced")},
        derived=tuple(_derived_view(row, found) for row in _in_order(found.kept_rows("derived"))),
        functions=tuple(_function(row) for row in _in_order(found.kept_rows("function"))),
        repoint=tuple(
            Repoint(
                what=what_of(row),
                statement=statement(row),
                catalog=row["catalog"],
                oid=row["oid"],
                lock=None if kind == "routine" else TableName.of(row),
                uses=tuple((u[0], u[1], u[2], u[3]) for u in row["columns"]),
            )
            for kind, statement in _STATEMENTS.items()
            for row in found.kept_rows(kind)
        ),
        foreign_keys=tuple(what_of(row) for row in found.kept_rows("foreign key")),
        foreign_key_tables=tuple(TableName.of(row) for row in found.kept_rows("foreign key")),
        carried=tuple(what_of(row) for row in found.kept_rows("carried")),
        left=tuple(found.lines_of_untouched()),
        outside=tuple(map(_outside, sorted(found.of("outside"), key=lambda row: int(row["about"]["depth"])))),
        lost=tuple(found.lost.values()),
        views_given_up=tuple(row["oid"] for row in found.given_up_rows("derived")),
        functions_given_up=tuple(map(_function, found.given_up_rows("function"))),
        unknown=found.unknown(),
    )


# ------------------------------------------------------------------ rows to objects


def _in_order(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield views in an order in which they can be created, the same one for the same rows."""
    by_key = {key_of(row): row for row in rows}
    graph = TopologicalSorter({key: [need for need in row["needs"] if need in by_key] for key, row in by_key.items()})
    try:
        graph.prepare()
    except CycleError as exc:  # a view whose rule was replaced by hand; PostgreSQL cannot query it either
        names = ", ".join(by_key[key]["identity"] for key in exc.args[1])
        raise PlanrunError(
            f"these depend on each other: {names}", hint="exclude their tables, or drop them", code="PR0814"
        ) from exc
    while graph.is_active():
        ready = set(graph.get_ready())
        yield from (row for key, row in by_key.items() if key in ready)
        graph.done(*ready)


def _derived_view(row: Row, found: Found) -> Derived:
    about = row["about"]
    return Derived(
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        kind="matview" if row["type"] == "materialized view" else "view",
        identity=row["identity"],
        definition=about["definition"].rstrip().removesuffix(";"),
        owner=about["owner"],
        options=tuple(about["options"]),
        columns=tuple(Column(**column) for column in about["columns"]),
        populated=about["populated"] and row["type"] == "materialized view",  # a view always is
        method=about["method"],
        tablespace=about["tablespace"],
        indexes=tuple(Index(**index) for index in about["indexes"]),
        statistics=tuple((one["schema"], one["name"], one["definition"]) for one in about["statistics"]),
        tables=found.tables(row),
        through=found.through(row),
    )


def _outside(row: Row) -> Outside:
    about = row["about"]
    return Outside(
        identity=row["identity"],
        name=TableName.of(row).sql,
        calls=tuple(about["calls"]),
        named=about["named"],
        concurrently=about["concurrently"],
        mine=about["mine"],
    )


def _function(row: Row) -> Function:
    about = row["about"]
    aside = naming.aside(row["name"], about["taken"])
    return Function(
        what=what_of(row),
        oid=row["oid"],
        schema=row["schema"],
        name=row["name"],
        arguments=about["arguments"],
        signature=about["signature"],
        owner=about["owner"],
        comment=about["comment"],
        aside=aside,
        leave=SqlText(f"alter {_signature(row)} rename to {ident(aside)}"),
        enter=join_statements(_entry_sql(row)),
    )


def _signature(row: Row) -> str:
    word = "procedure" if row["type"] == "procedure" else "function"
    return f"{word} {TableName.of(row).sql}({row['about']['arguments']})"


def _entry_sql(row: Row) -> Iterator[str]:
    about = row["about"]
    yield about["definition"].rstrip()
    yield f"alter {_signature(row)} owner to {ident(about['owner'])}"
    if about["comment"]:
        yield f"comment on {_signature(row)} is {literal(about['comment'])}"


def _routine(row: Row) -> SqlText:
    return SqlText(row["about"]["definition"].rstrip())


def _policy(row: Row) -> SqlText:
    about = row["about"]
    using = f" using ({about['using']})" if about["using"] else ""
    check = f" with check ({about['check']})" if about["check"] else ""
    return SqlText(f"alter policy {ident(about['name'])} on {TableName.of(row).sql}{using}{check}")


def _rule(row: Row) -> SqlText:
    text = row["about"]["definition"].rstrip().removesuffix(";")
    return SqlText(text.replace("CREATE RULE", "CREATE OR REPLACE RULE", 1))


def _default(row: Row) -> SqlText:
    about, table = row["about"], TableName.of(row).sql
    return SqlText(f"alter table {table} alter column {ident(about['column'])} set default {about['default']}")


_STATEMENTS: Mapping[str, Callable[[Row], SqlText]] = {
    "routine": _routine,
    "default": _default,
    "policy": _policy,
    "rule": _rule,
}
"""In the order in which they run, because a policy or a rule may use a function."""
