"""Which locks each statement of an SQL text takes, and what it does under them, as far as the text tells.

PostgreSQL's own parser reads the text; lock_table.toml says what each operation locks. Not in the text, and not told:
what triggers, rules, event triggers and functions do, which tables a name that is a view's stands for, and the indexes
and TOAST tables of a locked table. Partitions, children and tables at the other end of a foreign key are told as such
(Relative); only the catalog has their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runner.record import dataclass
from runner.safesql import operations
from runner.safesql.lock_table import NEWEST, Certainty, LockMode, Operation, Relative, operations_of
from runner.safesql.nodes import TEMPORARY
from runner.safesql.operation_use import PLACEHOLDERS, USER_FUNCTION, ColumnChange, Use
from runner.safesql.syntax import Statement, own_transaction, statements
from runner.table_name import TableName


@dataclass(frozen=True, kw_only=True)
class RelationLock:
    """A lock that a statement takes.

    relation: as the statement names it, without a schema where it gives none; a schema, a role or a type in its place
    where `relative` says so. certain: false where the catalog decides whether it is taken, in this mode at most.
    new: the same text made the relation before, or it is a temporary one, so that nobody else can wait for it.
    """

    relation: TableName
    mode: LockMode
    relative: Relative = Relative.RELATION
    certain: bool = True
    new: bool = False

    @property
    def what(self) -> str:
        """What is locked, in words: `app.orders`, `the tables that app.orders refers to`."""
        own = self.relative is Relative.OF_OWNER and not self.relation.name  # of CURRENT_USER
        name = "the connected role" if own else str(self.relation)
        return self.relative.value.format(name).strip()

    @property
    def is_named(self) -> bool:
        """Whether the statement names the very relation."""
        return self.relative in (Relative.RELATION, Relative.OTHER)


@dataclass(frozen=True, kw_only=True)
class OperationUse:
    """An operation of a statement, with the entry of the lock table. only: its children are left out.

    change: what ALTER COLUMN TYPE wants.
    """

    entry: Operation
    relation: TableName | None = None
    other: TableName | None = None
    only: bool = False
    detail: str = ""
    change: ColumnChange | None = None

    @property
    def name(self) -> str:
        """The name of the operation, as the statement begins: ALTER INDEX where the table says ALTER TABLE."""
        if self.entry.name in PLACEHOLDERS:
            return self.detail
        begin = self.detail if self.detail.startswith("ALTER ") else ""
        return self.entry.name.replace("ALTER TABLE", begin) if begin else self.entry.name


@dataclass(frozen=True, kw_only=True)
class StatementLocks:
    """What one statement locks. offset: where it begins in the text, in characters. uses: its operations.

    locks: one for each relation, in the strongest mode that an operation needs. transaction: whether it can run inside
    a transaction block. opaque: why it may lock more than is told, or "".
    """

    offset: int
    uses: tuple[OperationUse, ...]
    locks: tuple[RelationLock, ...]
    transaction: Certainty
    opaque: str = ""

    @property
    def what(self) -> str:
        """What the statement is: `ALTER TABLE ... ADD COLUMN, DROP COLUMN`."""
        names = list(dict.fromkeys(use.name for use in self.uses))
        first, dots, _ = names[0].partition(" ... ")
        if not dots or self.uses[0].relation is None:
            return names[0]
        same = [name.removeprefix(first + dots) for name in names if name.startswith(first + dots)]
        return first + dots + ", ".join(same)

    @property
    def rewrite(self) -> Certainty:
        """Whether it writes the file of a table that was there before anew."""
        return self.rewrite_given({})

    def rewrite_given(self, known: Mapping[OperationUse, Certainty]) -> Certainty:
        """Return `rewrite` where some operations are known better than the text tells."""
        return _most(known.get(use, use.entry.rewrite) for use in self.uses if not self._is_new(use))

    @property
    def scan(self) -> Certainty:
        """Whether it reads all rows of a table, or builds an index, under the lock."""
        return self.scan_given({})

    def scan_given(self, known: Mapping[OperationUse, Certainty]) -> Certainty:
        """Return `scan` where some operations are known better: what is written anew is read as well."""
        return _most(known.get(use, use.entry.scan) for use in self.uses if not self._is_new(use))

    def _is_new(self, use: OperationUse) -> bool:
        return any(lock.new and lock.relation == use.relation for lock in self.locks)

    @property
    def strongest(self) -> LockMode | None:
        """The strongest mode that it takes for certain on what others can see, None when it locks nothing."""
        modes = [lock.mode for lock in self.locks if lock.certain and not lock.new]
        return max(modes, key=lambda mode: mode.strength, default=None)


def statement_locks(sql: str, major: int = NEWEST, before: Iterable[TableName] = ()) -> tuple[StatementLocks, ...]:
    """Return what each statement of a text locks on a major version of PostgreSQL. Raises BadSql.

    before: relations that are as new as those that the text makes itself.
    """
    made = list(before)
    found = []
    for one in statements(sql):
        found.append(_locks_of(one, major, made))
        made += _new_relation(one)
    return tuple(found)


def _locks_of(one: Statement, major: int, made: list[TableName]) -> StatementLocks:
    entries = operations_of(major)
    pairs = [(entries[use.operation], use) for use in operations.operations(one)]
    locks = _strongest(lock for entry, use in pairs for lock in _relation_locks(entry, use, made))
    return StatementLocks(
        offset=one.offset,
        uses=tuple(_operation_use(entry, use) for entry, use in pairs),
        locks=locks,
        transaction=Certainty.NO if own_transaction(one) else _least(entry.transaction for entry, _ in pairs),
        opaque="; ".join(dict.fromkeys(_opaque(entry, use) for entry, use in pairs if entry.opaque)),
    )


def _operation_use(entry: Operation, use: Use) -> OperationUse:
    return OperationUse(
        entry=entry, relation=use.relation, other=use.other, only=use.only, detail=use.detail, change=use.change
    )


def _opaque(entry: Operation, use: Use) -> str:
    return f"{use.detail}(): {entry.opaque}" if use.operation == USER_FUNCTION else entry.opaque


def _relation_locks(entry: Operation, use: Use, made: list[TableName]) -> Iterator[RelationLock]:
    for certain, locks in ((True, entry.locks), (False, entry.perhaps)):
        for relative, given in locks.items():
            mode = given or use.mode
            relation = use.other if relative is Relative.OTHER else use.relation
            if relative is Relative.EVERYTHING:
                relation = TableName("", "")
            if mode is None or relation is None or (use.only and relative in _DESCENDANTS):
                continue
            new = relative in _PARTS and (relation.schema == TEMPORARY or relation in made)
            yield RelationLock(relation=relation, mode=mode, relative=relative, certain=certain, new=new)


_DESCENDANTS = (Relative.CHILDREN, Relative.PARTITIONS)
_PARTS = (Relative.RELATION, Relative.OTHER, *_DESCENDANTS, Relative.ITS_INDEXES, Relative.ITS_SEQUENCES)
"""What is as new as the relation itself."""


def _strongest(locks: Iterable[RelationLock]) -> tuple[RelationLock, ...]:
    """Return one lock for each relation and certainty, the strongest; a weaker one that is not certain is left out."""
    best: dict[tuple[TableName, Relative, bool], RelationLock] = {}
    for lock in locks:
        relative = Relative.RELATION if lock.relative is Relative.OTHER else lock.relative
        key = (lock.relation, relative, lock.certain)
        if key not in best or best[key].mode.strength < lock.mode.strength:
            best[key] = lock
    return tuple(lock for key, lock in best.items() if lock.certain or _adds(lock, best.get((*key[:2], True))))


def _adds(lock: RelationLock, certain: RelationLock | None) -> bool:
    return certain is None or certain.mode.strength < lock.mode.strength


_ORDER = tuple(Certainty)


def _most(found: Iterable[Certainty]) -> Certainty:
    return max(found, key=_ORDER.index, default=Certainty.NO)


def _least(found: Iterable[Certainty]) -> Certainty:
    return min(found, key=_ORDER.index, default=Certainty.YES)


def relations_made(sql: str) -> tuple[TableName, ...]:
    """Return the relations that a text makes for certain. Raises BadSql."""
    return tuple(name for one in statements(sql) for name in _new_relation(one))


def _new_relation(one: Statement) -> Iterator[TableName]:
    """Yield the relation that a statement makes for certain: IF NOT EXISTS may find one that others use."""
    if one.node is None or one.node.get("if_not_exists"):
        return
    for use in operations.operations(one):
        if use.relation and use.operation in _MAKES:
            yield use.relation
            if use.relation.schema == TEMPORARY:  # it hides what else has the name
                yield use.relation._replace(schema="")


_MAKES = (
    *("CREATE TABLE", "CREATE TABLE ... AS", "CREATE VIEW", "CREATE MATERIALIZED VIEW", "CREATE SEQUENCE"),
    "CREATE FOREIGN TABLE",
)
