"""Print runner/safesql/builtin_names.txt anew, from the catalogs of all PostgreSQL versions on this machine.

PLANRUN_PG_TREES=... python tests/get_builtin_names.py > runner/safesql/builtin_names.txt
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import psycopg

from tests import servers

HEAD = """\
# Names in schema pg_catalog of all supported versions of PostgreSQL: functions that people call, and types.
# tests/get_builtin_names.py makes this file.
"""

FUNCTIONS = """
    select proname, bool_or(provolatile = 'v') as volatile
    from pg_catalog.pg_proc
    where pronamespace = 'pg_catalog'::regnamespace and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
      and coalesce(obj_description(oid, 'pg_proc'), '') !~ '^(implementation of|I/O|internal|index (build|am))'
      and proname !~ '^(binary_upgrade|pg_stat_get|gin|gist|spg|brin|hash|bt|RI)_'
      and proname !~ '(_selfunc|sel|support)$'
    group by proname
"""
TYPES = """
    select typname from pg_catalog.pg_type
    where typnamespace = 'pg_catalog'::regnamespace and typrelid = 0 and typtype in ('b', 'r', 'm') and typname !~ '^_'
"""


def section(title: str, names: Iterable[str]) -> str:
    return f"\n[{title}]\n" + textwrap.fill(" ".join(sorted(names)), 120, break_on_hyphens=False) + "\n"


def main() -> None:
    calm: set[str] = set()
    volatile: set[str] = set()
    types: set[str] = set()
    for these in servers.servers_here().values():
        with servers.local(these) as server, psycopg.connect(server.conninfo()) as connection:
            for name, is_volatile in connection.execute(FUNCTIONS):
                (volatile if is_volatile else calm).add(name)
            types |= {name for (name,) in connection.execute(TYPES)}
    parts = (("volatile", volatile), ("stable or immutable", calm - volatile), ("types", types))
    print(HEAD + "".join(section(*part) for part in parts), end="")


if __name__ == "__main__":
    main()
