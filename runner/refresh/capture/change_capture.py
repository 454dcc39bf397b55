"""Keep a copy of a table up to date: record the keys of rows that change, then copy those rows again.

A trigger records keys, never rows: replaying a recorded row could bring back a row that has been deleted since,
while a key only says "read this row again", which is correct at any time. It fires under
session_replication_role=replica as well, and works for roles that may not even see schema planrun. A TRUNCATE is
recorded as "all keys". Catching up deletes the rows of the recorded keys and inserts them as they are in one snapshot,
in one transaction: in several, rows that swap the values of a unique column would collide.
Keys are compared by the operator of the index they come from: an `=` found by a search_path may be another (citext).
Sources: PostgreSQL docs 39.1 (triggers), CREATE FUNCTION (SECURITY DEFINER safely), 13.2.2 (repeatable read).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner import sqlfile
from runner.refresh import access, ledger
from runner.refresh.records import Watched
from runner.refresh.swap import disabled_triggers
from runner.refresh.swap.disabled_triggers import as_regclass, dollars, tree
from runner.sqltext import SqlText, ident, idents, join_statements, literal, qualified
from runner.table_name import TableName

ALL = 1_000_000
"""How much a TRUNCATE counts in the backlog. The whole table is copied again, which must not happen under a lock."""


# ------------------------------------------------------------------ installing and removing


def lock(tables: Iterable[Watched]) -> SqlText:
    """Return the LOCK TABLE that waits for every transaction that wrote before the triggers exist."""
    names = ", ".join(one.sql for one in sorted(tables, key=lambda one: one.oid))
    return SqlText(f"lock table {names} in share row exclusive mode") if names else SqlText("")


def install(tables: Sequence[Watched], refresh: str, until: str = "") -> SqlText:
    """Return SQL after whose COMMIT the keys of these tables are recorded, and that writes this to the ledger.

    until: a timestamptz as text; writes after that moment are not recorded. The text is the same whether or not
    an earlier attempt installed the triggers, so that a resumed run does not take it for new work.
    """
    made = (text for one in tables for text in (remove([one]), *_create(one, until)))
    return join_statements([*made, ledger.note(refresh, keys=tuple(tables))])


def _create(one: Watched, until: str) -> tuple[str, ...]:
    rows, truncate = one.triggers
    told = f"{ledger.marker(one.refresh)} keys of {one.full_name} that changed"
    on_truncate = [ending for where in _trees(one) for ending in _truncate_trigger(one, truncate, where)]
    return (
        f"create table {one.journal} (n bigint generated always as identity, {_columns(one)}, "
        "truncated boolean not null default false)",
        f"comment on table {one.journal} is {literal(told)}",
        _function(one, until),
        access.close("planrun", f"keys_{one.suffix}", f"note_{one.suffix}"),
        # a publication FOR ALL TABLES includes this one, and PostgreSQL then deletes no row without a replica identity
        f"alter table {one.journal} replica identity full",
        f"create trigger {ident(rows)} after insert or update or delete on {one.sql} "
        f"for each row execute function {one.function}()",
        f"alter table {one.sql} enable always trigger {ident(rows)}",
        *on_truncate,
    )


def _trees(one: Watched) -> tuple[TableName, ...]:
    return one.truncate_on or (one.full_name,)


def _truncate_trigger(one: Watched, trigger: str, where: TableName) -> tuple[str, str]:
    table = where.sql
    return (
        f"create trigger {ident(trigger)} after truncate on {table} for each statement "
        f"execute function {one.function}()",
        # ONLY: each partition has its own trigger, and ALTER TABLE would look for that of the root in each of them
        f"alter table only {table} enable always trigger {ident(trigger)}",
    )


def _columns(one: Watched) -> str:
    return ", ".join(f"{name} {key.type}" for name, key in zip(_names(one), one.key, strict=True))


def _names(one: Watched) -> list[str]:
    """Return the journal's own column names: a key's column may be called `n` or `truncated`."""
    return [f"k{number}" for number in range(1, len(one.key) + 1)]


def _function(one: Watched, until: str) -> str:
    names = ", ".join(_names(one))
    old, new = (", ".join(f"{row}.{ident(key.column)}" for key in one.key) for row in ("old", "new"))
    same = " and ".join(f"old.{ident(k.column)} {k.equals} new.{ident(k.column)}" for k in one.key)
    body = sqlfile.fill(
        "refresh/record_keys.plpgsql",
        journal=one.journal,
        names=SqlText(names),
        old=SqlText(old),
        new=SqlText(new),
        same=SqlText(same),
        until=literal(until or "infinity"),
    )
    return (
        f"create function {one.function}() returns trigger language plpgsql security definer\n"
        f"set search_path = pg_catalog, pg_temp as {dollars(body)}"
    )


def silent(tables: Iterable[Watched]) -> SqlText:
    """Return a query that names the tables of which not every change is recorded.

    The journal is gone, the name now means another table, or a trigger of planrun is gone or disabled on the table or
    on a partition. A partition that was added later has no trigger, so neither its rows nor a TRUNCATE were recorded.
    """
    values = ", ".join(
        f"({literal(str(one.full_name))}, {literal(f'{one.function}()')}, {literal(one.journal)}, "
        f"{literal(one.sql)}, {one.oid}::pg_catalog.oid)"
        for one in tables
    )
    if not values:
        return SqlText("select ''::pg_catalog.text as name where false")
    tree_of_live = tree(SqlText("v.oid::pg_catalog.regclass"))
    return sqlfile.fill("refresh/silent_tables.sql", tables=SqlText(values), tree=tree_of_live)


def check_unbroken(tables: Iterable[Watched], until: str = "") -> SqlText:
    """Return a query to run under the locks: it returns no row when no change is missing in the journals.

    until: the moment given to `install`, after which nothing is recorded.
    """
    late = (
        "\nunion all\nselect 'the rollback window has ended meanwhile: later writes are not recorded'\n"
        f"where pg_catalog.clock_timestamp() >= {literal(until)}::pg_catalog.timestamptz"
    )
    return SqlText(
        "select pg_catalog.format('not every change of %s was recorded', s.name) as what\n"
        f"from (\n{silent(tables)}\n) as s{late if until else ''}"
    )


def remove(tables: Iterable[Watched]) -> SqlText:
    """Return SQL that removes what `install` created, as far as it exists.

    The SQL finds the triggers by their function, because the table may have another name by now. Dropping one takes an
    ACCESS EXCLUSIVE lock on its table, so lock the tables first.
    """
    return join_statements(text for one in tables for text in _drop(one))


def _drop(one: Watched) -> tuple[str, ...]:
    body = sqlfile.fill("refresh/remove_capture.plpgsql", function=literal(f"{one.function}()"))
    return (
        f"do {dollars(body)}",
        f"drop function if exists {one.function}()",
        f"drop table if exists {one.journal}",
    )


# ------------------------------------------------------------------ catching up


def backlog(tables: Iterable[Watched]) -> SqlText:
    """Return a query for one row with the column `waiting`: the number of recorded keys; a TRUNCATE counts as ALL."""
    each = " union all ".join(f"select truncated from {one.journal}" for one in tables)
    counted = f"pg_catalog.count(*) + {ALL} * pg_catalog.count(*) filter (where truncated)"
    return SqlText(
        f"select {counted} as waiting from ({each}) as j" if each else "select 0::pg_catalog.int8 as waiting"
    )


def catch_up(one: Watched, into_schema: str, into_name: str) -> SqlText:
    """Return SQL that brings a copy up to date with the captured table by the recorded keys, and deletes these keys.

    Run it in REPEATABLE READ, or under a lock that keeps writers out. Keys that are recorded later stay. The SQL also
    records in the member which transaction wrote and how many rows. Triggers and rules of the copy are disabled
    meanwhile, because they must not change the rows.
    """
    into = qualified(into_schema, into_name)
    body = sqlfile.fill(
        "refresh/catch_up.plpgsql",
        journal=one.journal,
        into=into,
        columns=idents(list(one.columns)),
        live_columns=SqlText(", ".join(f"l.{ident(column)}" for column in one.columns)),
        live=one.sql,
        same_here=_same(one, "s"),
        same_live=_same(one, "l"),
        disable=disabled_triggers.disable(into),
        enable=disabled_triggers.ENABLE,
        record=_record_count(one.refresh, into, "come - gone"),
    )
    return SqlText(f"do {dollars(body)}")


def _same(one: Watched, row: str) -> SqlText:
    """Return the condition that joins a row of the table to the journal."""
    pairs = zip(_names(one), one.key, strict=True)
    return SqlText(" and ".join(f"j.{name} {key.equals} {row}.{ident(key.column)}" for name, key in pairs))


# ------------------------------------------------------------------ what the ledger is told

_XIDS = "coalesce(m.about -> 'xids', '[]') || pg_catalog.to_jsonb(pg_catalog.pg_current_xact_id()::text)"
"""planrun's transactions that wrote rows into a table, and this one. They are in the row of the table, not in that of
the refresh: several tables catch up at once in REPEATABLE READ, where the second writer of one row fails (40001)."""


def record_rows(refresh: str, oid: int, rows: str) -> SqlText:
    """Return SQL that records how many rows a table was filled with, and by which transaction.

    rows: an SQL expression. Partitions are not counted one by one. The SQL replaces what a load recorded of the rows
    that were there before.
    """
    now = SqlText(f"pg_catalog.jsonb_build_object('rows', ({rows})::pg_catalog.int8, 'xids', {_XIDS})")
    whole = tree(SqlText(f"{oid}::pg_catalog.oid::pg_catalog.regclass"))
    values = {"oid": literal(oid), "now": now, "refresh": literal(refresh), "tree": whole}
    return sqlfile.fill("refresh/record_rows.sql", **values)


def _record_count(refresh: str, table: SqlText, rows: str) -> SqlText:
    total = f"coalesce((m.about ->> 'rows')::pg_catalog.int8, 0) + {rows}"
    now = f"pg_catalog.jsonb_build_object('rows', {total}, 'xids', {_XIDS})"
    return SqlText(
        f"update planrun.member as m set about = m.about || {now} "
        f"where m.refresh = {literal(refresh)} and m.catalog = 'pg_class' and m.oid = {as_regclass(table)}"
    )
