"""planrun's ledger in a catalog file: names in place of OIDs, and OIDs again in another database.

What notes the changed keys of a table has the table's OID in its own name (runner.refresh.records.Watched), so it is
renamed, too.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runner import resources, sqlfile
from runner.catalogfile.record import LedgerRow
from runner.safesql.templates import Templates
from runner.sqltext import SqlText, literal

_LEDGER = sqlfile.read("catalogfile/ledger.sql")
_GONE = 4_294_967_295
"""No object has this OID, nor the ones before it: they are given away from the other end."""

Rows = Callable[[str], Sequence[Mapping[str, Any]]]


def take(ask: Rows) -> Iterator[LedgerRow]:
    """Yield the rows of the ledger. ask: runs a query of ours."""
    rows = [dict(row) for row in ask(_LEDGER)]
    watched = [one for row in rows for one in _captured_tables(row["row"])]
    oids = sorted({int(one["oid"]) for one in watched})
    names = {row["oid"]: row["name"] for row in ask(_names_of(oids))} if oids else {}
    for one in watched:
        one["relation"] = names.get(one["oid"], "")
    for row in rows:
        yield LedgerRow(part=row["part"], identity=row["identity"], row=row["row"])


def _names_of(oids: Sequence[int]) -> str:
    return (
        "select c.oid::pg_catalog.int8 as oid, pg_catalog.format('%I.%I', n.nspname, c.relname) as name"
        " from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace"
        f" where c.oid = any ({literal(oids)}::pg_catalog.oid[])"
    )


def _captured_tables(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what is recorded of each table whose changed keys are noted."""
    about = row.get("about")
    for part in (about, about.get("window")) if isinstance(about, dict) else ():
        for some in (part.get("keys"), part.get("tables")) if isinstance(part, dict) else ():
            for one in some if isinstance(some, list) else ():
                if isinstance(one, dict) and isinstance(one.get("oid"), int):
                    yield one


def fill(rows: Sequence[LedgerRow], ask: Rows) -> Iterator[str]:
    """Yield the SQL that puts the ledger into a database where its objects are. ask: runs a query there."""
    rows = copy.deepcopy(rows)
    watched = [one for row in rows for one in _captured_tables(row.row)]
    names = [str(one.pop("relation", "")) for one in watched]
    found = ask(f"select pg_catalog.to_regclass(nullif(n, ''))::pg_catalog.oid::pg_catalog.int8 as oid"
                f" from pg_catalog.unnest({literal(names)}::pg_catalog.text[]) with ordinality as f (n, at) order by at"
                ) if names else []  # fmt: skip
    for number, (one, row) in enumerate(zip(watched, found, strict=True)):
        old, new = int(one["oid"]), row["oid"] or _GONE - 1_000_000 - number
        one["oid"] = new
        yield from (str(each["text"]) for each in ask(_renames(old, new)))
    members = [one for one in rows if one.part == "member"]
    yield Templates((resources.SQL,)).sql(
        "catalogfile/ledger_of_file.sql.j2",
        refreshes=[json.dumps(one.row) for one in rows if one.part == "refresh"],
        members=[json.dumps(one.row) for one in members],
        identities=[one.identity for one in members],
    )


def _renames(old: int, new: int) -> SqlText:
    """Return the query for the statements that rename what notes the keys of a table."""
    return sqlfile.fill("catalogfile/renames.sql", old=literal(str(old)), new=literal(str(new)))
