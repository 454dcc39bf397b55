"""Relations and foreign keys as the catalog describes them: what the exchange of two relations needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.record import dataclass
from runner.sqltext import SqlText, idents, literal, qualified
from runner.table_name import Named, TableName

Row = Mapping[str, Any]

_WORDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "S": "sequence", "f": "foreign table"}
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "matview"}


@dataclass(frozen=True, kw_only=True)
class Relation(Named):
    """A table, view or materialized view with its columns, indexes and so on; the lists contain rows of
    relations.sql.j2.

    acl: {grantor, grantee ("" is PUBLIC), privilege, grantable}, None when nothing was ever granted or revoked.
    """

    oid: int
    schema: str
    name: str
    kind: str
    owner: str
    persistence: str = "p"
    partition: bool = False
    row_security: bool = False
    force_row_security: bool = False
    replica_identity: str = "d"
    options: Sequence[str] = ()
    toast_options: Sequence[str] = ()
    tablespace: str | None = None
    comment: str | None = None
    acl: Sequence[Row] | None = None
    columns: Sequence[Row] = ()
    indexes: Sequence[Row] = ()
    sequences: Sequence[Row] = ()
    statistics: Sequence[Row] = ()
    triggers: Sequence[Row] = ()
    rules: Sequence[Row] = ()
    policies: Sequence[Row] = ()
    publications: Sequence[Row] = ()
    labels: Sequence[Row] = ()
    constraints: Sequence[Row] = ()

    @property
    def sql(self) -> SqlText:
        return self.full_name.sql

    @property
    def word(self) -> SqlText:
        """The keyword of ALTER and COMMENT for it."""
        return SqlText(_WORDS[self.kind])

    @property
    def member_kind(self) -> str:
        return _KINDS[self.kind]

    @property
    def is_table(self) -> bool:
        return self.kind in "rp"

    def __str__(self) -> str:
        return str(self.full_name)


def relation(row: Row) -> Relation:
    """Make a Relation of a row of sql/catalog/relations.sql.j2."""
    given = {**row, "acl": (row["acl"] or []) if row["has_acl"] else None}
    del given["has_acl"]
    return Relation(**given)


@dataclass(frozen=True, kw_only=True)
class ForeignKey:
    """A foreign key by name, so that it can be created again between other relations of the same names.

    tail: what follows the referenced columns (MATCH, ON UPDATE, ON DELETE, DEFERRABLE). oid, ref_oid: of the two
    tables, 0 where it comes from another database. partitioned: NOT VALID is not allowed there before PostgreSQL 18.
    """

    name: str
    schema: str
    table: str
    columns: Sequence[str]
    ref_schema: str
    ref_table: str
    ref_columns: Sequence[str]
    tail: str = ""
    validated: bool = True
    partitioned: bool = False
    comment: str | None = None
    plain: bool = True
    oid: int = 0
    ref_oid: int = 0

    @property
    def sql(self) -> SqlText:
        return self.child.sql

    @property
    def child(self) -> TableName:
        """The table that has it."""
        return TableName(self.schema, self.table)

    @property
    def parent(self) -> TableName:
        """The table that it refers to."""
        return TableName(self.ref_schema, self.ref_table)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.schema, self.table, self.name

    def __str__(self) -> str:
        return f"{self.name} of {self.child}"

    def definition(self) -> SqlText:
        """Return FOREIGN KEY ... REFERENCES ..., as ADD CONSTRAINT needs it."""
        target = qualified(self.ref_schema, self.ref_table)
        columns, ref_columns = idents(list(self.columns)), idents(list(self.ref_columns))
        return SqlText(f"foreign key ({columns}) references {target} ({ref_columns}){self.tail}")


def foreign_key(row: Row) -> ForeignKey:
    """Make a ForeignKey of a row of sql/catalog/foreign_keys.sql.j2 or of what the ledger keeps of one."""
    return ForeignKey(**{name: row[name] for name in ForeignKey.__dataclass_fields__ if name in row})


def as_text(value: str | None) -> SqlText:
    """Return a comment as COMMENT ON needs it; NULL removes it."""
    return SqlText("null") if value is None else literal(value)
