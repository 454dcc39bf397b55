"""Find in the catalog what the removal of a refresh would drop: the SQL, the counts, and what prevents it now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from runner.errors import PlanrunError, VerifyError
from runner.fates import Fate, ObjectFate
from runner.model import Compare, Exchange, Proof, Sql
from runner.record import dataclass
from runner.refresh import ledger, schema_ownership, summary
from runner.refresh.capture import change_capture
from runner.refresh.catalog import rights
from runner.refresh.ledger import Ask, Member, Refresh
from runner.refresh.records import MemberRecord
from runner.refresh.removal import removal_sql
from runner.refresh.removal.removal_sql import Removal, Table
from runner.refresh.summary import SetSummary, Standing
from runner.refresh.swap import swap_sql
from runner.words import PLAN, plural, shown_name

HINT = f"nothing was changed: move or drop the named objects, then run again; planrun status {PLAN} shows what is left"


@dataclass(frozen=True, kw_only=True)
class PlannedRemoval:
    """One set: its summary, the SQL that removes it, and what prevents the removal now."""

    refresh: Refresh
    summary: SetSummary
    removal: Removal
    in_the_way: tuple[str, ...]

    @property
    def what(self) -> str:
        tables = plural(self.summary.tables, "table")
        return f"drop the {self.summary.what} of schema {shown_name('', self.refresh.schema)}: {tables}"

    def lines(self, now: datetime, *more: str) -> Iterator[str]:
        """Yield the lines of a diff; `more` follows the headline."""
        yield summary.headline(self.summary, now)
        yield from more
        if self.summary.missing:
            yield f"gone already: {', '.join(self.summary.missing)}"
        if self.in_the_way:
            yield "these objects depend on it, so nothing is dropped and the step fails:"
            yield from (f"  {what}" for what in self.in_the_way)

    def fate(self, now: datetime) -> ObjectFate:
        """Return what becomes of the set as a whole."""
        one = self.summary
        made = f"made {summary.age((now - one.since).total_seconds())} ago"
        of = f"of schema {shown_name('', self.refresh.schema)}, {plural(one.tables, 'table')}"
        return ObjectFate(
            kind=one.what, name=one.id, fate=Fate.DROPPED, rows=one.rows, bytes=one.bytes, note=f"{of}, {made}",
            exact=one.exact,
        )  # fmt: skip

    def follow_up(self, connection: str) -> Iterator[Sql]:
        """Yield the remaining work of a rollback that was cut off: foreign keys to validate, views to fill, as the
        ledger has it."""
        left = self.refresh.record.afterwards if self.refresh.state == "undone" else ()
        return swap_sql.follow_up(self.refresh.id, left, connection)

    def exchange(
        self, connection: str, lock_timeout: float, deadline: float, hold_timeout: float = Exchange.hold_timeout
    ) -> Exchange:
        return Exchange(
            connection=connection,
            what=self.what,
            locks=self.removal.locks,
            check=self.removal.check,
            text=self.removal.text,
            hint=HINT,
            lock_timeout=lock_timeout,
            deadline=deadline,
            hold_timeout=hold_timeout,
        )


def backups(refreshes: Iterable[Refresh], schema: str = "") -> list[Refresh]:
    """Return the sets of a schema (of all when "") that a swap or a rollback put aside, oldest first."""
    return [one for one in refreshes if one.state in ("swapped", "undone") and schema in ("", one.schema)]


def unfinished_refreshes(refreshes: Iterable[Refresh], plan: str) -> list[Refresh]:
    """Return what runs of a plan left that is neither live nor a backup set: shadow tables, and what a rollback put
    aside."""
    return [one for one in refreshes if one.state != "swapped" and one.plan == plan]


def read_all(ask: Ask, template: Callable[..., str], connection: str) -> list[Standing]:
    """Return all current refreshes of a database, oldest first. Needs only SELECT there."""
    refreshes = ledger.read(ask, looking=True)
    oids = [one.oid for refresh in refreshes for one in removal_sql.members_to_drop(refresh) if one.kind == "table"]
    facts = ask(template("refresh/removal_facts.sql.j2", oids=oids)) if oids else []
    return [
        Standing(connection=connection, refresh=one, summary=summary.summarize(one, facts), waiting=_backlog(one, ask))
        for one in refreshes
    ]


def _backlog(refresh: Refresh, ask: Ask) -> int | None:
    """Return the number of keys in the journals; None without journals, and if this role may not read them."""
    watched = removal_sql.watched_tables(refresh)
    if not watched:
        return None
    try:
        return int(ask(change_capture.backlog(watched))[0]["waiting"])
    except PlanrunError:
        return None


def proof(refresh: Refresh, connection: str, ask: Ask, template: Callable[..., str]) -> Compare:
    """Return the Compare that reads every table of a set to its end. Raises VerifyError if a table is gone or not
    planrun's."""
    schema_ownership.refuse_foreign(ask)
    members = [one for one in refresh.side(removal_sql.side(refresh)) if one.relation]
    wrong = [f"{one.full_name} is gone" for one in members if not one.there]
    named = ((str(one.place), one) for one in members if one.there)
    wrong += [f"{name} does not carry the marker of planrun" for name, one in named if not one.marked]
    if wrong:
        raise VerifyError(
            f"backup set {refresh.id}: {'; '.join(wrong)}", hint=f"planrun backups list {PLAN}", code="PR0819"
        )
    tables = [one for one in members if one.kind == "table"]
    facts = ask(template("refresh/removal_facts.sql.j2", oids=[one.oid for one in tables]))
    kinds = {row["oid"]: row["kind"] for row in facts if not row["partition"]}
    proofs = (_read(one, kinds[one.oid] == "p", refresh, template) for one in tables if one.oid in kinds)
    return Compare(
        connection=connection,
        proofs=tuple(proofs),
        of="the load that recorded them",
        hint=f"do not rely on this set for a rollback: planrun backups list {PLAN} shows what else is there",
    )


def _read(one: Member, parts: bool, refresh: Refresh, template: Callable[..., str]) -> Proof:
    """Return the proof of one table. A table that was live after its rows were counted may rightly have others."""
    recorded = one.record if refresh.state == "swapped" else MemberRecord()
    query = template("refresh/content.sql.j2", schema=one.now_schema, name=one.now_name, parts=parts)
    return Proof(
        schema=one.now_schema,
        name=one.now_name,
        query=query,
        rows=recorded.rows,
        checksum=recorded.checksum,
    )


def plan_removal(refresh: Refresh, ask: Ask, template: Callable[..., str]) -> PlannedRemoval:
    """Return what would be removed. `ask` runs a catalog query; `template` turns a file under sql/ into one."""
    gone = removal_sql.members_to_drop(refresh)
    behind = _dependents_of_other_sets(refresh, gone, ask, template)
    every = [*gone, *(member for _, member in behind)]
    relations, functions = ([m.oid for m in every if m.catalog == kind] for kind in ("pg_class", "pg_proc"))
    order = ask(template("refresh/removal_order.sql.j2", oids=relations, functions=functions))
    oids = [one.oid for one in gone if one.catalog == "pg_class"]
    facts = ask(template("refresh/removal_facts.sql.j2", oids=oids))
    touched = removal_sql.referenced_tables(ask(template("catalog/foreign_keys.sql.j2", oids=oids)), oids)
    watched = _watched_tables(refresh, ask, template)
    rights.refuse_without(
        ask,
        template,
        use={one.now_schema for one in gone} | {one.schema for one in (*touched, *watched)},
        owned=[*(one.oid for one in gone if one.catalog == "pg_class"), *(one.oid for one in watched)],
        locked=[one.oid for one in touched],
    )
    removal = removal_sql.removal(
        refresh,
        ranks={row["oid"]: row["rank"] for row in order if row["detach"] is None},
        detach=[row["detach"] for row in order if row["detach"]],
        behind=behind,
        touched=(*touched, *watched),
    )
    return PlannedRemoval(
        refresh=refresh,
        summary=summary.summarize(refresh, facts),
        removal=removal,
        in_the_way=_in_the_way(ask(removal.check)),
    )


def _dependents_of_other_sets(
    refresh: Refresh, gone: Sequence[Member], ask: Ask, template: Callable[..., str]
) -> list[tuple[Refresh, Member]]:
    """Return the views and functions that other refreshes left and that depend on the dropped objects.

    No application uses them: an old view of one plan reads the old table of another. A rollback of that plan then finds
    that its set is incomplete, and says so.
    """
    others = {
        member.oid: (one, member)
        for one in ledger.read(ask)
        if one.id != refresh.id
        for member in removal_sql.members_to_drop(one)
        if member.kind in ("view", "matview", "function")
    }
    if not others or not gone:
        return []
    rows = ask(template("refresh/removal_behind.sql.j2", gone=[m.oid for m in gone], candidates=sorted(others)))
    own = {member.oid for member in gone}
    return [others[row["oid"]] for row in rows if row["oid"] in others and row["oid"] not in own]


def _watched_tables(refresh: Refresh, ask: Ask, template: Callable[..., str]) -> list[Table]:
    """Return the tables that lose the triggers of the change capture, by their current names."""
    oids = [one.oid for one in removal_sql.watched_tables(refresh)]
    return [Table(**row) for row in ask(template("refresh/removal_watched.sql.j2", oids=oids))] if oids else []


def _in_the_way(rows: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(next(iter(row.values()))) for row in rows if isinstance(row, dict))
