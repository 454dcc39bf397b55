"""The content of a database as text and checksums, for comparing two of them.

A catalog is the output of `pg_dump --schema-only`, one entry for each object.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Collection, Mapping

from psycopg import sql

from runner.server import programs
from tests.commandline import connect_to

Catalog = Mapping[str, str]
Contents = Mapping[str, tuple[int, str]]

# ------------------------------------------------------------------ the catalog as text

_ENTRY = re.compile(r"^--\n-- Name: (?P<name>.*); Type: (?P<type>.*); Schema: (?P<schema>.*); Owner: .*\n--\n", re.M)
_NOISE = re.compile(
    r"^(--|-- PostgreSQL .* complete|\\(un)?restrict .*|SET default_(tablespace|table_access_method) = .*|)\n",
    re.M,
)
_OURS = """
    select nspname from pg_namespace
    where nspname = 'planrun' or starts_with(obj_description(oid, 'pg_namespace'), 'planrun refresh ')
"""
_OLD = """
    from planrun.refresh r join planrun.member m on m.refresh = r.id
    where r.state in ('swapped', 'undone') and m.side = case r.state when 'swapped' then 'old' else 'new' end
"""
_PUT_ASIDE = f"""
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid in (
        select m.oid {_OLD} and m.catalog = 'pg_class' and m.kind in ('table', 'view', 'matview', 'sequence'))
"""
_FUNCTIONS_ASIDE = f"""
    select n.nspname, format('%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid))
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.oid in (select m.oid {_OLD} and m.catalog = 'pg_proc')
"""


def catalog(db: str, *, whole: bool = False) -> Catalog:
    """Return {object: its SQL} for the entries of a database, without planrun's own objects.

    Relations of backup sets are left out, by their current names in the ledger, unless `whole`.
    """
    found: dict[str, str] = {}
    text = _dump_schema(db, [] if whole else put_aside(db))
    entries = list(_ENTRY.finditer(text))
    for entry, after in zip(entries, [*entries[1:], None], strict=True):
        body = text[entry.end() : after.start() if after else None]
        key = f"{entry['type']} {entry['schema']}.{entry['name']}"
        found[key] = found.get(key, "") + _NOISE.sub("", body)
    functions = [] if whole else [f"{schema}.{name}" for schema, name in _aside(db, _FUNCTIONS_ASIDE)]
    return {key: text for key, text in found.items() if not key.replace(".FUNCTION ", ".").endswith(tuple(functions))}


def put_aside(db: str) -> list[tuple[str, str]]:
    """Return schema and name of the relations that refreshes have put aside, as the ledger knows them."""
    return _aside(db, _PUT_ASIDE)


def _aside(db: str, query: str) -> list[tuple[str, str]]:
    with connect_to(db) as conn:
        conn.execute("set search_path = ''")
        if conn.execute("select to_regclass('planrun.member')").fetchone() == (None,):
            return []
        return [(schema, name) for schema, name in conn.execute(query.encode()).fetchall()]


def _dump_schema(db: str, without: Collection[tuple[str, str]]) -> str:
    """Return the schema as pg_dump writes it. Properties that pg_dump does not write do not matter to applications."""
    with connect_to(db) as conn:
        these = programs.pg_dump_for(conn.info.server_version // 10000)
        ours = [f"-N{_quote(name)}" for (name,) in conn.execute(_OURS).fetchall()]
    left_out = [f"-T{_quote(schema)}.{_quote(name)}" for schema, name in without]
    argv = [these.tool("pg_dump"), "-d", db, "--schema-only", *ours, *left_out]
    return subprocess.run(
        argv, env={**os.environ, **these.env}, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def difference(before: Catalog, after: Catalog, allowed: Collection[str] = ()) -> str:
    """Return a diff of two catalogs, "" if they are equal except for the `allowed` entries."""
    lines: list[str] = []
    for key in sorted({*before, *after} - {*allowed}):
        old, new = before.get(key, ""), after.get(key, "")
        if old != new:
            shown = difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="", n=1)
            lines += [key, *(f"  {line}" for line in list(shown)[2:])]
    return "\n".join(lines)


# ------------------------------------------------------------------ rows by content

_TABLES = """
    select c.oid, n.nspname, c.relname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm') and c.relispopulated
      and n.nspname !~ '^(pg_|planrun$|planrun_shadow_)' and n.nspname <> 'information_schema'
"""
_ROWS = """
    select {name}, count(*), md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) from only {table} t
"""


def contents(db: str) -> Contents:
    """Return rows and a checksum of every table and materialized view that is neither planrun's own nor put aside."""
    with connect_to(db) as conn:
        conn.execute("set extra_float_digits = 1; set timezone = 'UTC'; set row_security = off")
        aside = put_aside(db)
        queries = [
            sql.SQL(_ROWS).format(name=f"{schema}.{name}", table=sql.Identifier(schema, name))
            for _, schema, name in conn.execute(_TABLES).fetchall()
            if (schema, name) not in aside
        ]
        rows = conn.execute(sql.SQL(" union all ").join(queries)).fetchall() if queries else []
        return {name: (count, checksum) for name, count, checksum in rows}


def differing_tables(before: Contents, after: Contents) -> list[str]:
    """Return the names of the tables that only one has, or whose rows differ."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
