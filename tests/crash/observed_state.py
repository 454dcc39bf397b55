"""Everything that a sweep compares, read at one moment: databases, backup folder, journal, and the output of status."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from runner.backup import sessions
from tests.crash.fork_server import DIVIDER
from tests.crash.stage import LIVE, Stage

RUN = re.compile(r"\d{8}T\d{6}Z(-[0-9a-f]{4})?")
_MINE = "n.nspname !~ '^(pg_|information_schema$|planrun$)'"
_TABLES = f"""
    select c.oid::int8, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm') and c.relispopulated and {_MINE} and n.nspname <> 'theirs'
"""
_ROWS = """
    select {name}, count(*), md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) from only {table} t
"""
_SEQUENCES = f"""
    select n.nspname || '.' || c.relname, coalesce(pg_sequence_last_value(c.oid), 0)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'S' and {_MINE} and n.nspname !~ '^planrun_'
"""
_CATALOG = f"""
    with mine as (
        select format('%s %I.%I', c.relkind, n.nspname, c.relname) as name, c.* from pg_class c
        join pg_namespace n on n.oid = c.relnamespace where {_MINE} and c.relkind in ('r','p','v','m','S','f')
    )
    select format('%s owner=%s acl=%s options=%s rls=%s%s identity=%s persistence=%s valid=%s comment=%s', name,
        relowner::regrole, relacl, reloptions, relrowsecurity, relforcerowsecurity, relreplident, relpersistence,
        relispopulated, obj_description(oid, 'pg_class')) from mine
    union all
    select format('%s.%s %s null=%s default=%s %s%s acl=%s', name, attname, format_type(atttypid, atttypmod),
        not attnotnull, pg_get_expr(d.adbin, d.adrelid), attidentity, attgenerated, attacl)
    from mine join pg_attribute a on attrelid = mine.oid and attnum > 0 and not attisdropped
    left join pg_attrdef d on d.adrelid = mine.oid and d.adnum = attnum where mine.relkind <> 'S'
    union all
    select format('%s: constraint %s %s %s', name, conname, pg_get_constraintdef(k.oid), convalidated)
    from mine join pg_constraint k on conrelid = mine.oid
    union all
    select format('%s: index %s valid=%s', name, pg_get_indexdef(indexrelid), indisvalid)
    from mine join pg_index on indrelid = mine.oid
    union all
    select format('%s: trigger %s %s', name, pg_get_triggerdef(t.oid), tgenabled)
    from mine join pg_trigger t on tgrelid = mine.oid where not tgisinternal
    union all
    select format('%s: policy %s %s', name, polname, pg_get_expr(polqual, polrelid))
    from mine join pg_policy on polrelid = mine.oid
    union all
    select format('%s as %s', name, pg_get_viewdef(mine.oid)) from mine where relkind in ('v', 'm')
    union all
    select format('%s owned by %s.%s', name, d.refobjid::regclass, d.refobjsubid)
    from mine join pg_depend d on d.objid = mine.oid and d.classid = 'pg_class'::regclass
        and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') where relkind = 'S'
    union all
    select format('function %s.%s: %s', n.nspname, p.oid::regprocedure, md5(pg_get_functiondef(p.oid)))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where {_MINE} and p.prokind = 'f'
    union all
    select format('schema %s owner=%s acl=%s comment=%s', nspname, nspowner::regrole, nspacl,
        obj_description(n.oid, 'pg_namespace')) from pg_namespace n where {_MINE}
    union all
    select format('publication %s of %s', pubname, prrelid::regclass)
    from pg_publication p join pg_publication_rel on prpubid = p.oid
    union all
    select 'planrun function ' || p.oid::regprocedure from pg_proc p
    where p.pronamespace = to_regnamespace('planrun')
    union all
    select 'planrun table ' || relname from pg_class where relnamespace = to_regnamespace('planrun') and relkind = 'r'
"""
_THEIRS = """
    select 'relation', c.oid::int8, c.xmin::text, c.relname::text || ' ' || c.relkind::text
    from pg_class c where c.relnamespace = 'theirs'::regnamespace
    union all
    select 'column', c.oid::int8, a.xmin::text, a.attname::text
    from pg_class c join pg_attribute a on a.attrelid = c.oid where c.relnamespace = 'theirs'::regnamespace
    union all
    select 'function', oid::int8, xmin::text, proname::text from pg_proc where pronamespace = 'theirs'::regnamespace
    union all
    select 'trigger', t.oid::int8, t.xmin::text, tgname::text from pg_trigger t join pg_class c on c.oid = tgrelid
    where c.relnamespace = 'theirs'::regnamespace
    union all
    select 'schema', oid::int8, xmin::text, nspname::text from pg_namespace where nspname = 'theirs'
    union all
    select 'comment', objoid::int8, d.xmin::text, description from pg_description d
    where objoid in (select oid from pg_class where relnamespace = 'theirs'::regnamespace)
"""
_LEDGER = """
    select r.id, r.plan, r.state, m.side, m.kind, m.oid::int8, m.schema, m.name
    from planrun.refresh r left join planrun.member m on m.refresh = r.id
"""
_LEFT = """
    select 'schema ' || nspname from pg_namespace where nspname ~ '^planrun_'
    union all
    select 'trigger ' || tgname || ' of ' || tgrelid::regclass 
    from pg_trigger where tgname ~ '^planrun_' and tgrelid::regclass::text !~ '^theirs'
    union all
    select 'replication slot ' || slot_name from pg_replication_slots
    union all
    select 'prepared transaction ' || gid from pg_prepared_xacts
    union all
    select 'database ' || datname from pg_database where datname ~ '^planrun_'
    union all
    select 'key journal ' || relname from pg_class
    where relnamespace = to_regnamespace('planrun') and relname ~ '^keys_'
    union all
    select 'invalid index ' || indexrelid::regclass from pg_index where not indisvalid
"""


@dataclass(frozen=True, kw_only=True)
class Table:
    oid: int
    rows: int
    checksum: str

    @property
    def content(self) -> tuple[int, str]:
        return self.rows, self.checksum


@dataclass(frozen=True, kw_only=True)
class ObservedState:
    """tables and sequences by `schema.name`; theirs: what others have, with the transaction that last wrote it.

    refreshes: id -> state; members: (refresh, side, kind) -> {oid: live name}. left: what planrun may leave behind.
    sessions: name -> (state, verified level, {table: rows and checksum}); files: all in the folder but the journal.
    status, listed: what `status` prints, and `backups list` when a session is not complete. run, run_state: id and
    state of the last run, "" when there is none; steps: path -> state in it; next: refresh -> the commands for it.
    """

    tables: Mapping[str, Table]
    sequences: Mapping[str, int]
    catalog: frozenset[str]
    theirs: frozenset[tuple[Any, ...]]
    refreshes: Mapping[str, str]
    members: Mapping[tuple[str, str, str], Mapping[int, str]]
    left: tuple[str, ...]
    sessions: Mapping[str, tuple[str, int, Mapping[str, tuple[int, str]]]]
    files: Mapping[str, bytes]
    status: str = ""
    listed: str = ""
    run: str = ""
    run_state: str = ""
    steps: Mapping[str, str] = field(default_factory=dict)
    next: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def rows(self, table: str) -> int:
        """Return how many rows a table has, -1 if it does not exist."""
        return self.tables[table].rows if table in self.tables else -1


def take(stage: Stage, *, asking: bool = True, of: str = LIVE) -> ObservedState:
    """Read the current state. asking: also the output of `planrun status`."""
    with stage.connect(of) as conn:
        conn.execute("set extra_float_digits = 1; set timezone = 'UTC'; set row_security = off; set search_path = ''")
        refreshes, members = _ledger(conn)
        found: dict[str, Any] = {
            "tables": _tables(conn),
            "sequences": dict(conn.execute(_SEQUENCES.encode()).fetchall()),
            "catalog": frozenset(row[0] for row in conn.execute(_CATALOG.encode()).fetchall()),
            "theirs": frozenset(conn.execute(_THEIRS.encode()).fetchall()) if _theirs(conn) else frozenset(),
            "refreshes": refreshes,
            "members": members,
            "left": tuple(row[0] for row in conn.execute(_LEFT.encode()).fetchall()),
        }
    found |= {"sessions": _sessions(stage.folder / "backups"), "files": _files(stage.folder)}
    partial = any(state != "complete" for state, _, _ in found["sessions"].values())
    return ObservedState(**found, **(_status(stage, listing=partial) if asking else {}))


def _theirs(conn: psycopg.Connection[Any]) -> bool:
    return conn.execute("select to_regnamespace('theirs')").fetchone() != (None,)


def _tables(conn: psycopg.Connection[Any]) -> dict[str, Table]:
    oids = {f"{schema}.{name}": (oid, schema, name) for oid, schema, name in conn.execute(_TABLES.encode()).fetchall()}
    queries = [
        sql.SQL(_ROWS).format(name=key, table=sql.Identifier(schema, name)) for key, (_, schema, name) in oids.items()
    ]
    rows = conn.execute(sql.SQL(" union all ").join(queries)).fetchall() if queries else []
    return {name: Table(oid=oids[name][0], rows=count, checksum=checksum) for name, count, checksum in rows}


def _ledger(conn: psycopg.Connection[Any]) -> tuple[dict[str, str], dict[tuple[str, str, str], dict[int, str]]]:
    states: dict[str, str] = {}
    members: dict[tuple[str, str, str], dict[int, str]] = {}
    if conn.execute("select to_regclass('planrun.member')").fetchone() == (None,):
        return states, members
    for refresh, _, state, side, kind, oid, schema, name in conn.execute(_LEDGER.encode()).fetchall():
        states[refresh] = state
        if side:
            members.setdefault((refresh, side, kind), {})[oid] = f"{schema}.{name}"
    return states, members


def _sessions(folder: Path) -> dict[str, tuple[str, int, Mapping[str, tuple[int, str]]]]:
    found: dict[str, tuple[str, int, Mapping[str, tuple[int, str]]]] = {}
    for one in sessions.facts(folder):
        held: dict[str, tuple[int, str]] = {}
        if one.state == "complete":
            manifest = sessions.read(folder / one.name)
            held = {f"{table.schema}.{table.name}": (table.rows, table.checksum) for table in manifest.tables}
        found[one.name] = (one.state, one.verified, held)
    return found


def _files(folder: Path) -> dict[str, bytes]:
    every = (path for path in folder.rglob("*") if path.is_file() and "state" not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in every}


def _status(stage: Stage, *, listing: bool) -> dict[str, Any]:
    lists = ("&&", "backups", "list", "plan.yml") if listing else ()
    ran = stage.run("status", "plan.yml", "&&", "status", "plan.yml", "-o", "json", *lists)
    text, data, listed = (*ran.out.split(DIVIDER), "", "")[:3]
    told = json.loads(data or "{}")
    last = told.get("last") or {}
    return {
        "status": text + ran.err,
        "listed": listed,
        "run": last.get("run", ""),
        "run_state": last.get("state", ""),
        "steps": {step["path"]: step["state"] for step in last.get("steps", [])},
        "next": {one["id"]: tuple(one["next"]) for one in told.get("refreshes", [])},
    }
