"""The phases of a load before and after the rows: tables, owners, keys, triggers, statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from runner.database.connections import translate_errors
from runner.database.deadlines import cancellable
from runner.database.worker_pool import WorkerPool
from runner.errors import TargetError
from runner.progress import Tally
from runner.refresh import access, ledger, owners
from runner.refresh.ledger import Member
from runner.shadow import foreign_keys, structure
from runner.shadow.load_context import BATCH, Conn, LoadContext, Row, groups
from runner.shadow.rows import sizes_of_roots
from runner.shadow.source import Source
from runner.sqltext import SqlText, idents, join_statements, qualified
from runner.words import shown_name

# ------------------------------------------------------------------ before the rows


def make(load: LoadContext, source: Source) -> None:
    """Create the tables and record them, several in each transaction. Raises TargetError."""
    recorded = set[int]()
    before = source.made.before
    for start in range(0, len(before), BATCH):
        with _name_event_triggers(load), translate_errors("making the tables"), load.transaction():
            load.conn.execute(join_statements(before[start : start + BATCH]))
            recorded |= _close_and_record(load, recorded)
    with _name_event_triggers(load), translate_errors("making the tables"), load.transaction():
        load.conn.execute(access.close(load.shadow))  # a statement about a table of an earlier batch may have opened it
    set_tablespaces(load)


def give_to_owners(load: LoadContext, source: Source) -> dict[str, str]:
    """Give the tables to the owners of the live ones, and new tables to their owners in the source if these roles
    exist.

    From here on, code of the owners runs with the owners' rights. Returns table -> role.
    """
    in_source = {name: role for name, one in source.made.protection for role in structure.roles_of(one) if _owns(one)}
    wanted = [in_source.get(name, "") for name in source.names]
    rows = load.ask(load.sql("owners", schema=load.schema, names=source.names, owners=wanted))
    found = {row["name"]: row["owner"] for row in rows}
    every = list(found.items())
    for start in range(0, len(every), BATCH):
        some = dict(every[start : start + BATCH])
        load.run([join_statements(owners.give(load.shadow, "table", some))], "owners")
    load.run(owners.grant_usage(load.shadow, found.values()), "rights")
    return found


def _owns(statement: str) -> bool:
    return statement.startswith("ALTER ") and " OWNER TO " in statement


@contextlib.contextmanager
def _name_event_triggers(load: LoadContext) -> Iterator[None]:
    """Name the event triggers of the target in an error: their code ran and may have changed the new objects."""
    try:
        yield
    except TargetError as exc:
        rows = load.ask(
            "select evtname::text as name from pg_catalog.pg_event_trigger where evtenabled <> 'D' order by 1"
        )
        if rows:
            names = ", ".join(shown_name("", row["name"]) for row in rows)
            exc.hint = exc.hint or (
                f"event trigger {names} of this database may be the reason: change it to skip schemas planrun and "
                "planrun_*, or disable it for the run"
            )
        raise


def _close_and_record(load: LoadContext, recorded: set[int]) -> set[int]:
    """Close and record what is new in the shadow schema, in the transaction that made it; return its OIDs.

    Only what is new: to look at all that is there each time took 11 s with 4,000 tables.
    """
    rows = load.conn.execute(load.sql("members", shadow=load.shadow)).fetchall()
    members = [
        Member(side="new", schema=load.schema, **{k: row[k] for k in ("catalog", "oid", "kind", "name")})
        for row in rows
        if row["kind"] in ("table", "sequence") and row["oid"] not in recorded
    ]
    if members:
        load.conn.execute(access.close(load.shadow, *(member.name for member in members)))
        load.conn.execute(ledger.add_members(load.refresh.id, members))
    return {member.oid for member in members}


def set_tablespaces(load: LoadContext) -> None:
    """Move relations that have no rows yet, or are complete, to the tablespace of their live counterparts."""
    rows = load.ask(load.sql("tablespaces", schema=load.schema, shadow=load.shadow))
    texts = [
        f"alter {row['kind']} {qualified(load.shadow, row['name'])} set tablespace {idents([row['tablespace']])}"
        for row in rows
    ]
    load.run(texts, "tablespaces")


# ------------------------------------------------------------------ behind the rows


def finish(load: LoadContext, source: Source) -> None:
    """Create what follows the rows: statistics, foreign keys, triggers and rules, comments."""
    names = structure.mapping(source.facts, load.schema, load.shadow)
    load.run(structure.statistics(source.facts, names, load.shadow), "statistics")
    set_tablespaces(load)
    _prove_and_vacuum(load, source, _make_foreign_keys(load, source))
    load.run(source.made.triggers, "triggers")
    load.run(source.made.rules, "rules")
    load.run(_disable_triggers(load, source.facts), "triggers and rules")
    load.run(structure.comments(source.made, {(key.table, key.name) for key in source.keys}), "comments")


def _make_foreign_keys(load: LoadContext, source: Source) -> dict[str, list[SqlText]]:
    """Create them one after the other, as each locks two tables; return the SQL that validates them, by root."""
    roots = {row["name"]: row["top"] for row in source.facts}
    mine = list(foreign_keys.keys_between(source.keys, roots, load.empty, load.schema, load.shadow))
    load.say("foreign keys")
    load.run((text for key in mine for text in foreign_keys.create_sql(key)), "foreign keys")
    found: dict[str, list[SqlText]] = {}
    for table, texts in foreign_keys.validate_sql(mine).items():
        found.setdefault(roots[table], []).extend(texts)
    return found


def _prove_and_vacuum(load: LoadContext, source: Source, foreign_keys_of: Mapping[str, Sequence[str]]) -> None:
    """Validate the foreign keys and collect statistics, several tables at a time, the biggest first.

    One worker does both for a table, because both take a lock that conflicts with itself. VACUUM costs little, as COPY
    FREEZE has set the visibility map (2,000,000 rows: 53 ms, ANALYZE 182 ms). It returns the pages that PostgreSQL
    16 and newer allocate in advance (20 of 145), and autovacuum then leaves the tables alone until they change.
    """
    roots = [row for row in source.roots if row["name"] not in load.empty]
    done = load.tally("keys and statistics", sizes_of_roots(load, source))
    tasks = [partial(_complete, load, rows, foreign_keys_of, done) for rows in groups(roots, load.action.jobs)]
    WorkerPool(load.action.jobs, load.open, load.cancel).work_off(tasks)


def _complete(
    load: LoadContext, rows: Sequence[Row], foreign_keys_of: Mapping[str, Sequence[str]], done: Tally, conn: Conn
) -> None:
    what = load.display_names(rows)
    load.progress(0, 0, "", f"foreign keys and statistics of {what}")
    load.run_on(
        conn, [text for row in rows for text in foreign_keys_of.get(row["name"], ())], f"foreign keys of {what}"
    )
    with translate_errors(f"statistics of {what}"), cancellable(conn, load.cancel):
        conn.execute(f"vacuum (analyze) {', '.join(qualified(load.shadow, row['name']) for row in rows)}")
    done.complete([row["name"] for row in rows], f"statistics of {what}")


def _disable_triggers(load: LoadContext, facts: Sequence[Row]) -> Iterator[str]:
    """Yield the SQL that disables triggers and rules until the swap; the record says how they are enabled."""
    for row in facts:
        table = qualified(load.shadow, row["name"])
        yield from (f"alter table {table} disable trigger {idents([name])}" for name in sorted(row["triggers"]))
        yield from (f"alter table {table} disable rule {idents([name])}" for name in sorted(row["rules"]))


def revoke_rights(load: LoadContext, owners_of: Mapping[str, str]) -> None:
    """Revoke from the owners the rights on the shadow schema that they needed while it was filled."""
    load.run(owners.revoke_usage(load.shadow, owners_of.values()), "rights")
