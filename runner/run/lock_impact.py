"""What the steps of a diff would lock and rewrite, with what the servers and the journal tell of that now.

A few queries for each connection, whatever the number of steps: the relations with their sizes, who holds conflicting
locks, and what long transactions, slots and standbys there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol

from runner import sqlfile
from runner.errors import PlanrunError
from runner.impact import LockedRelation, StatementImpact, StepImpact
from runner.model import Action, Exchange, Load, Refill, Sql, State, Together
from runner.record import dataclass
from runner.refresh.lock_holders import holder_line
from runner.result import StepResult
from runner.run import type_changes
from runner.safesql.lock_table import NEWEST, Certainty, LockMode, Relative
from runner.safesql.statement_locks import RelationLock, StatementLocks, statement_locks
from runner.safesql.syntax import BadSql
from runner.table_name import TableName
from runner.words import plural, seconds, shown_name, size, span

_SURROUNDINGS = sqlfile.read("server/surroundings.sql")

_MOST = 20
"""Relations of one wish, such as `the tables that refer to app.orders`, that are named; of more, the largest."""


class Reader(Protocol):
    """What is needed of a CatalogReader."""

    def rows(self, text: str, *, connection: str = "") -> list[dict[str, Any]]: ...
    def ask(self, text: str, *, connection: str = "", limit: int = 1000) -> list[dict[str, Any]]: ...
    def sql(self, name: str, /, **given: Any) -> str: ...


@dataclass
class _Draft:
    """A statement of an action, before the catalog was asked. path: of its step. found: the relations that it locks.

    theirs: the author of the plan wrote it. told: what its text says.
    """

    path: str
    connection: str
    impact: StatementImpact
    locks: tuple[RelationLock, ...] = ()
    theirs: bool = False
    told: StatementLocks | None = None
    found: list[LockedRelation] = field(default_factory=list)


# ------------------------------------------------------------------ what the actions say


def offline(steps: Iterable[StepResult]) -> dict[str, StepImpact]:
    """Return what each step would lock by its path, as far as its SQL tells without a database."""
    return _by_path([_with_lock_names(draft) for draft in _drafts(steps, lambda name: NEWEST)])


def _by_path(drafts: Iterable[_Draft]) -> dict[str, StepImpact]:
    found: dict[str, list[StatementImpact]] = {}
    for draft in drafts:
        found.setdefault(draft.path, []).append(draft.impact)
    return {path: StepImpact(statements=tuple(statements)) for path, statements in found.items()}


def _with_lock_names(draft: _Draft) -> _Draft:
    locks = (_lock_without_facts(lock) for lock in draft.locks if not lock.new and lock.relative not in _PARTS)
    draft.impact = replace(draft.impact, locks=(*draft.impact.locks, *locks))
    return draft


_PARTS = (
    *(Relative.CHILDREN, Relative.PARTITIONS, Relative.DEFAULT_PARTITION, Relative.READS),
    *(Relative.ITS_SEQUENCES, Relative.ITS_INDEXES, Relative.PARTITION_PARENT),
)
"""What goes without saying where no catalog can say whether there is any."""


def _lock_without_facts(lock: RelationLock) -> LockedRelation:
    return LockedRelation(name=lock.what, mode=lock.mode, certain=lock.certain, named=lock.is_named)


def _drafts(steps: Iterable[StepResult], major: Callable[[str], int]) -> Iterator[_Draft]:
    for step in steps:
        if step.state not in (State.WOULD, State.UNKNOWN):
            continue
        found = [draft for action in step.planned.actions for draft in _of_action(step.path, action, major)]
        yield from found
        preview = step.planned.preview
        if preview and preview.locks and not found:  # the tables that a load of this plan will have built
            locks = tuple(_access_exclusive(TableName.parse(name)) for name in preview.locks)
            yield _Draft(step.path, "", StatementImpact(what=f"{step.planned.step.uses}{_SHORT}"), locks)


_SHORT = ", in one short transaction"


def _access_exclusive(table: TableName) -> RelationLock:
    return RelationLock(relation=table, mode=LockMode.ACCESS_EXCLUSIVE)


def _of_action(path: str, action: Action, major: Callable[[str], int]) -> Iterator[_Draft]:
    match action:
        case Sql(text=text, connection=connection):
            for one in _statements(text, connection, major):
                locks = one.locks if action.theirs else _of_others(one.locks)
                if locks or (action.theirs and (one.opaque or one.transaction is Certainty.NO)):
                    yield _Draft(path, connection, _impact(one, action), locks, action.theirs, one)
        case Exchange(locks=text, connection=connection):
            every = _of_others(lock for one in _statements(text, connection, major) for lock in one.locks)
            locks = tuple(lock for lock in every if lock.is_named)
            if locks:
                yield _Draft(
                    path, connection, StatementImpact(what=f"{action.what}{_SHORT}", notes=_waits(action)), locks
                )
        case Load(tables=tables, source=source):
            copied = sum(table.bytes for table in tables if not table.empty)
            read = LockedRelation(
                name=f"{plural(len(tables), 'table')} of {source or 'the source'}", mode="ACCESS SHARE"
            )
            yield _Draft(path, "", StatementImpact(what="copy of the source's tables", locks=(read,), disk=copied))
        case Refill(tables=tables):
            read = LockedRelation(name=plural(len(tables), "live table"), mode="ACCESS SHARE")
            yield _Draft(path, "", StatementImpact(what="copy of the preserved rows", locks=(read,)))
        case Together(branches=branches):
            yield from (draft for branch in branches for one in branch for draft in _of_action(path, one, major))


def _statements(text: str, connection: str, major: Callable[[str], int]) -> tuple[StatementLocks, ...]:
    """Return what the statements lock on the server of a connection; it is asked for its version only if they do."""
    try:
        found = statement_locks(text)
        here = major(connection) if any(one.locks for one in found) else NEWEST
        return found if here >= NEWEST else statement_locks(text, here)
    except BadSql:  # the step itself says so
        return ()


def _of_others(locks: Iterable[RelationLock]) -> tuple[RelationLock, ...]:
    """Return the locks on what is not planrun's own: nobody else uses shadow tables, journals and ledgers."""
    return tuple(lock for lock in locks if not lock.relation.schema.startswith("planrun"))


def _impact(one: StatementLocks, action: Sql) -> StatementImpact:
    outside = () if action.transaction else (_OUTSIDE,)
    said = dict.fromkeys(use.entry.note for use in one.uses if use.entry.note and use.entry.name not in _PLAIN)
    return StatementImpact(
        what=one.what,
        rewrite=one.rewrite.value,
        scan=one.scan.value,
        transaction=one.transaction.value,
        opaque=one.opaque if action.theirs else "",
        notes=(*outside, *said),
    )


_PLAIN = ("SELECT ... FOR", "no table")


_OUTSIDE = "it runs outside of a transaction: what it has done stays when it fails half-way"


def _waits(action: Exchange) -> tuple[str, ...]:
    limit = span(action.lock_timeout) if action.lock_timeout else "half a second"
    return (
        f"all locks are requested at once, for {limit} at a time, for up to {span(action.deadline)};"
        f" what is done under them is undone after {span(action.hold_timeout)}",
    )


# ------------------------------------------------------------------ what the servers say


@dataclass(frozen=True)
class DiffImpact:
    """What the steps would lock, by path, and lines about what the servers have that strong locks and rewrites meet."""

    steps: Mapping[str, StepImpact]
    lines: tuple[str, ...] = ()


def of_diff(
    steps: Sequence[StepResult],
    reader: Reader,
    major: Callable[[str], int],
    *,
    is_secret: Callable[[str], bool] = lambda text: False,
) -> DiffImpact:
    """Return the impact of a diff's steps. Names with secrets are not sent to a server, whose log keeps what is asked.

    What a server refuses to tell is left out, with a line that says so: a diff must not fail of it.
    """
    drafts = list(_drafts(steps, _or_newest(major)))
    lines: list[str] = []
    for connection in dict.fromkeys(draft.connection for draft in drafts):
        some = [draft for draft in drafts if draft.connection == connection]
        try:
            _look(some, reader, connection, is_secret)
            lines += _surroundings(some, reader, connection)
        except PlanrunError as exc:
            lines.append(f"sizes and holders of locks are not known: {exc.message}")
            for draft in some:
                if not draft.found:
                    _with_lock_names(draft)
    return DiffImpact(_by_path(drafts), tuple(dict.fromkeys(lines)))


def _or_newest(major: Callable[[str], int]) -> Callable[[str], int]:
    """Return a function that takes a server that cannot be asked for the newest one; its step says what is wrong."""

    def ask(connection: str) -> int:
        try:
            return major(connection)
        except PlanrunError:
            return NEWEST

    return ask


_Relation = Mapping[str, Any]


def _look(drafts: Sequence[_Draft], reader: Reader, connection: str, is_secret: Callable[[str], bool]) -> None:
    """Give each draft the relations that it locks, with sizes and holders."""
    for theirs in (True, False):
        some = [draft for draft in drafts if draft.theirs == theirs]
        wanted = [(draft, lock) for draft in some for lock in draft.locks if not lock.new]
        open_ones = [(draft, lock) for draft, lock in wanted if not is_secret("".join(lock.relation))]
        rows = _relations([lock for _, lock in open_ones], reader, connection, theirs=theirs)
        holders = _holders(
            [(row, lock) for (_, lock), each in zip(open_ones, rows, strict=True) for row in each], reader, connection
        )
        found = iter(rows)
        for draft, lock in wanted:
            secret = is_secret("".join(lock.relation))
            draft.found += [_lock_without_facts(lock)] if secret else _locked_relations(lock, next(found), holders)
    _decide_types(drafts, reader, connection)
    for draft in drafts:
        locks = (*draft.impact.locks, *_without_repetition(draft.found))
        draft.impact = replace(draft.impact, locks=locks, disk=draft.impact.disk or _disk(draft.impact, locks))


def _relations(
    locks: Sequence[RelationLock], reader: Reader, connection: str, *, theirs: bool
) -> list[list[_Relation]]:
    """Return the relations of each lock; a name without a schema is looked up as the statement will look it up."""
    found: list[list[_Relation]] = [[] for _ in locks]
    if not locks:
        return found
    text = reader.sql(
        "catalog/lock_relatives.sql.j2",
        schemas=[lock.relation.schema for lock in locks],
        names=[lock.relation.name for lock in locks],
        relatives=[lock.relative.name for lock in locks],
        most=_MOST,
    )
    rows = (
        reader.ask(text, connection=connection, limit=_MOST * len(locks))
        if theirs
        else reader.rows(text, connection=connection)
    )
    for row in rows:
        found[row["number"]].append(row)
    return found


def _decide_types(drafts: Sequence[_Draft], reader: Reader, connection: str) -> None:
    """Say for certain where another type of a column rewrites its table: the catalog has the type of now."""
    changing = [draft for draft in drafts if draft.told and draft.impact.rewrite == Certainty.PERHAPS]
    uses = [use for draft in changing if draft.told for use in draft.told.uses if use.change]
    found = type_changes.rewrites(
        uses, lambda text: reader.ask(text, connection=connection, limit=len(uses)), reader.sql
    )
    for draft in changing:
        assert draft.told is not None
        rewrite, scan = draft.told.rewrite_given(found), draft.told.scan_given(found)
        draft.impact = replace(draft.impact, rewrite=rewrite.value, scan=scan.value)


_Holders = Mapping[tuple[int, LockMode], tuple[str, ...]]


def _holders(wanted: Sequence[tuple[_Relation, RelationLock]], reader: Reader, connection: str) -> _Holders:
    """Return a line for each session that holds a conflicting lock now, by relation and mode."""
    keys = list(dict.fromkeys((int(row["oid"]), lock.mode) for row, lock in wanted))
    if not keys:
        return {}
    conflicts = [",".join(one.server_name for one in mode.conflicts()) for _, mode in keys]
    text = reader.sql("server/lock_conflicts.sql.j2", oids=[oid for oid, _ in keys], modes=conflicts)
    found: dict[tuple[int, LockMode], list[str]] = {}
    for row in reader.rows(text, connection=connection):
        held = ", ".join(LockMode.of_server(mode) for mode in row["modes"].split(","))
        found.setdefault(keys[row["number"]], []).append(f"{holder_line(row)} in {held} mode")
    return {key: tuple(lines) for key, lines in found.items()}


def _locked_relations(lock: RelationLock, rows: Sequence[_Relation], holders: _Holders) -> Iterator[LockedRelation]:
    if not rows and lock.is_named:
        yield LockedRelation(name=lock.what, mode=lock.mode, certain=lock.certain, there=False)
    if lock.relative is Relative.EVERYTHING:
        yield LockedRelation(name=lock.what, mode=lock.mode, certain=False, named=False)
    for row in rows:
        yield LockedRelation(
            name=str(TableName.of(row)),
            mode=lock.mode,
            certain=lock.certain,
            rows=row["rows"],
            bytes=row["bytes"],
            named=lock.is_named,
            holders=holders.get((int(row["oid"]), lock.mode), ()),
        )
    if rows and rows[0]["every"] > len(rows):
        rest = f"{rows[0]['every'] - len(rows):,} more of {lock.what}"
        yield LockedRelation(name=rest, mode=lock.mode, certain=lock.certain, named=False)


def _without_repetition(found: Iterable[LockedRelation]) -> tuple[LockedRelation, ...]:
    """Return one lock for each relation, the strongest that is certain, and one that may come besides."""
    best: dict[tuple[str, bool], LockedRelation] = {}
    for one in sorted(found, key=lambda each: -LockMode(each.mode).strength):
        if (one.name, True) not in best or (one.certain and (one.name, True) not in best):
            best.setdefault((one.name, one.certain), one)
    kept = set(map(id, best.values()))
    return tuple(one for one in found if id(one) in kept)


def _disk(impact: StatementImpact, locks: Iterable[LockedRelation]) -> int | None:
    """Return the bytes of a table that is written anew: it is there twice until the transaction ends."""
    if impact.rewrite == Certainty.NO or impact.what.startswith(_EMPTIES):
        return None
    sizes = [one.bytes for one in locks if one.certain and one.bytes and one.mode == LockMode.ACCESS_EXCLUSIVE]
    return sum(sizes) or None


_EMPTIES = ("TRUNCATE",)


# ------------------------------------------------------------------ what else the server has


def _surroundings(drafts: Sequence[_Draft], reader: Reader, connection: str) -> Iterator[str]:
    impacts = [draft.impact for draft in drafts]
    strong = any(one.blocks_readers or one.rewrite != "no" for one in impacts)
    waiting = any("CONCURRENTLY" in one.what for one in impacts)
    if not strong and not waiting:
        return
    rewritten = sum(one.disk or 0 for one in impacts)
    for row in reader.rows(_SURROUNDINGS, connection=connection):
        yield from _SURROUNDING[row["kind"]](row, rewritten)


def _transaction(row: _Relation, rewritten: int) -> Iterator[str]:
    who = ", ".join(filter(None, [shown_name("", row["who"] or ""), row["state"]]))
    yield (
        f"pid {row['name']} ({who}) has been in a transaction for {seconds(row['seconds'])}:"
        " a lock on what it used waits for its end, and CONCURRENTLY for all such"
    )


def _prepared_transaction_line(row: _Relation, rewritten: int) -> Iterator[str]:
    age = seconds(row["seconds"])
    yield f"the prepared transaction {shown_name('', row['name'])} keeps its locks since {age} (pg_prepared_xacts)"


def _slot(row: _Relation, rewritten: int) -> Iterator[str]:
    if row["bytes"] is not None and (rewritten or row["state"] == "inactive"):
        more = f"; a rewrite adds about {size(rewritten)}" if rewritten else ""
        yield f"replication slot {shown_name('', row['name'])} ({row['state']}) keeps {size(row['bytes'])} of WAL{more}"


def _standby(row: _Relation, rewritten: int) -> Iterator[str]:
    lag = f", {seconds(row['seconds'])} behind" if row["seconds"] else ""
    yield (
        f"standby {shown_name('', row['name'])} ({row['who']}{lag}) replays it:"
        " ACCESS EXCLUSIVE makes queries there wait, or cancels those in the way"
    )


_SURROUNDING: Mapping[str, Callable[[_Relation, int], Iterator[str]]] = {
    "transaction": _transaction,
    "prepared": _prepared_transaction_line,
    "slot": _slot,
    "standby": _standby,
}
