"""The facts that an exchange needs, read from the catalog in a few queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from runner.errors import PlanrunError
from runner.refresh import ledger
from runner.refresh.capture import change_capture
from runner.refresh.catalog.dependents import QUERY, Dependents, from_rows
from runner.refresh.catalog.relations import ForeignKey, Relation, foreign_key, relation
from runner.refresh.ledger import Refresh
from runner.refresh.records import Watched
from runner.refresh.swap.renames import Taken
from runner.table_name import TableName
from runner.words import PLAN, shown_name


class Reads(Protocol):
    """The part of runner.kinds.base.CatalogReader that this module needs."""

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]: ...

    def sql(self, name: str, /, **values: Any) -> str: ...

    @property
    def plan(self) -> str: ...


class Catalog:
    """The catalog of one database, queried through a CatalogReader."""

    def __init__(self, reader: Reads, connection: str, major: int) -> None:
        self._reader, self._connection, self.major = reader, connection, major

    def _ask(self, name: str, **values: Any) -> list[dict[str, Any]]:
        return self._reader.rows(self._reader.sql(f"catalog/{name}.sql.j2", **values), connection=self._connection)

    def ask(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of one of planrun's queries."""
        return self._reader.rows(text, connection=self._connection)

    def template(self, name: str, /, **values: Any) -> str:
        """Return a file under sql/ as a query."""
        return self._reader.sql(name, **values)

    def refreshes(self) -> tuple[Refresh, ...]:
        return ledger.read(self.ask)

    def find_oids(self, names: Iterable[TableName]) -> dict[TableName, int]:
        """Return the OIDs of the relations that exist."""
        pairs = sorted(set(names))
        rows = self._ask("named", schemas=[s for s, _ in pairs], names=[n for _, n in pairs]) if pairs else []
        return {TableName.of(row): row["oid"] for row in rows}

    def trees(self, oids: Collection[int]) -> list[int]:
        """Return the OIDs with those of all partitions below them."""
        return [row["oid"] for row in self._ask("tree", oids=sorted(oids))] if oids else []

    def relations(self, oids: Collection[int]) -> dict[int, Relation]:
        rows = self._ask("relations", oids=sorted(oids), major=self.major) if oids else []
        return {row["oid"]: relation(row) for row in rows}

    def foreign_keys(self, oids: Collection[int]) -> tuple[ForeignKey, ...]:
        return tuple(map(foreign_key, self._ask("foreign_keys", oids=sorted(oids)))) if oids else ()

    def dependents(self, live: Iterable[Relation], lose: Collection[str]) -> Dependents:
        """Return the objects that depend on live tables, for all tables of one schema at a time."""
        names: dict[str, list[str]] = {}
        for one in live:
            names.setdefault(one.schema, []).append(one.name)
        ours = ledger.leftover_oids(self.refreshes())
        rows = [
            row for schema, tables in names.items() for row in self.rows(QUERY, schema=schema, names=tables, ours=ours)
        ]
        return from_rows(rows, lose=lose)

    def executable(self, oids: Collection[int]) -> dict[int, list[Mapping[str, Any]]]:
        """Return the grants on functions that have any, by OID."""
        return {row["oid"]: row["acl"] for row in self._ask("routines", oids=sorted(oids))} if oids else {}

    def names_in_use(self, schemas: Collection[str]) -> Taken:
        found: Taken = {schema: set() for schema in schemas}
        for row in self._ask("taken", schemas=sorted(schemas)):
            found[row["schema"]].add(row["name"])
        return found

    def change_query(self, oids: Sequence[int], renamed: Mapping[int, tuple[str, str]]) -> str:
        """Return the query that finds which of these relations has changed since now.

        renamed: old and new name of the indexes that the exchange itself renames before it asks, by OID.
        """
        values = {"oids": list(oids), "renamed": ledger.as_json({str(oid): list(two) for oid, two in renamed.items()})}
        now = {str(row["oid"]): row["hash"] for row in self._ask("state", expected=None, **values)}
        text = self._reader.sql("catalog/state.sql.j2", expected=ledger.as_json(now), **values)
        return f"-- nothing that the exchange depends on has changed\n{text}"

    def silent(self, watched: Collection[Watched]) -> list[str]:
        """Return the tables for which not every changed key was recorded, as text for people."""
        rows = self._reader.rows(change_capture.silent(watched), connection=self._connection) if watched else []
        return [row["name"] for row in rows]

    def rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of another template under sql/."""
        return self._reader.rows(self._reader.sql(name, **values), connection=self._connection)


def find_refresh(refreshes: Sequence[Refresh], *, plan: str, schema: str, states: Sequence[str], what: str) -> Refresh:
    """Return a plan's newest refresh of a schema (of any when "") in one of these states.

    Raises PlanrunError when there is none, or when another plan has replaced the tables of its schema since.
    what: what is missing then, such as "shadow tables are loaded".
    """
    where = f" of schema {shown_name('', schema)}" if schema else ""
    own = ledger.find((one for one in refreshes if one.plan == plan), schema=schema, states=states)
    if own is None:
        others = ledger.find(refreshes, schema=schema, states=states)
        theirs = f" of this plan: run {others.id} is of plan {others.plan}" if others else ""
        hint = f"planrun status {PLAN} shows what exists; planrun apply {PLAN} creates it"
        raise PlanrunError(f"no {what}{where}{theirs}", hint=hint, code="PR0818")
    last = ledger.find(refreshes, schema=own.schema, states=(own.state,))
    if last and last.plan != plan:
        raise PlanrunError(
            f"no {what} of schema {shown_name('', own.schema)}: "
            f"run {last.id} of plan {last.plan} came after run {own.id} of this plan",
            hint=f"planrun status {PLAN}",
            code="PR0818",
        )
    return own


def both(*checks: str) -> str:
    """Return one query for the rows of several, each of which has the column `what`."""
    return "\nunion all\n".join(f"select what from (\n{one}\n) as c" for one in checks)


def by_name(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {row["what"]: row["hash"] for row in rows}
