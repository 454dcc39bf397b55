"""What must exist before the tables of a backup: pg_dump -t writes no type, no function, no schema.

After a migration that dropped tables and their enum types, a backup without these types cannot be restored. So a
session contains their DDL, in the manifest for planrun and as needed.ddl for psql. pg_dump itself writes the DDL: one
archive of everything except tables, from which planrun takes the entries that pg_depend names, by the OIDs in the
archive's list of contents.
Sources: PostgreSQL docs 52.18 (pg_depend), pg_dump (Notes on --table), pg_restore (--list, --use-list).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.backup import plaintext
from runner.backup.manifest import Need
from runner.errors import TargetError
from runner.sqltext import ident, literal
from runner.table_name import TableName

FILE = "needed.ddl"
"""No dump of a table has such a name: those end in .sql, .csv, .dump or .dir."""

Row = Mapping[str, Any]
Run = Callable[[str, Sequence[str]], bytes]
"""Runs pg_dump (in the snapshot) or pg_restore with arguments and returns what it wrote."""

_BY_PG_DUMP = frozenset(
    ("type", "domain", "function", "procedure", "aggregate", "collation", "operator", "operator class",
     "operator family", "text search configuration", "text search dictionary", "text search parser",
     "text search template", "cast", "access method")
)  # fmt: skip
_LISTED = re.compile(r"^\d+; (\d+) (\d+) ", re.MULTILINE)


def query(tables: Iterable[TableName]) -> str:
    """Return the query that finds what these tables need; pass its rows to `collect`."""
    from runner import resources
    from runner.safesql.templates import Templates

    pairs = list(tables)
    values = {"schemas": [schema for schema, _ in pairs], "names": [name for _, name in pairs]}
    return Templates((resources.SQL,)).sql("catalog/needs.sql.j2", **values)


def collect(rows: Sequence[Row], run: Run) -> tuple[Need, ...]:
    """Return the needed objects in an order in which they can be created. Raises TargetError if a program fails."""
    needs = [_need(row) for row in rows]
    # an extension's requirements were created before it: their OIDs are lower
    simple = [pair for pair in zip(needs, rows, strict=True) if pair[0].kind in ("schema", "extension")]
    simple.sort(key=lambda pair: (pair[0].kind != "schema", int(pair[1]["objid"])))
    first = [_simple(need, row) for need, row in simple]
    written = {
        (int(row["classid"]), int(row["objid"])): need
        for need, row in zip(needs, rows, strict=True)
        if need.kind in _BY_PG_DUMP
    }
    sequences = [replace(need, ddl=_sequence(need, run)) for need in needs if need.kind == "sequence"]
    above = [pair for pair in zip(needs, rows, strict=True) if pair[0].kind == "parent"]
    above.sort(key=lambda pair: -int(pair[1]["depth"]))
    parents = [replace(need, ddl=_parent(need, run)) for need, _ in above]
    others = [n for n in needs if n.kind not in _BY_PG_DUMP | {"schema", "extension", "sequence", "parent"}]
    return (*first, *(_from_archive(written, run) if written else ()), *sequences, *parents, *others)


def _need(row: Row) -> Need:
    return Need(kind=row["kind"], schema=row["schema"], name=row["name"], identity=row["identity"])


def _simple(need: Need, row: Row) -> Need:
    if need.kind == "schema":
        return replace(need, ddl=f"CREATE SCHEMA {ident(need.name)};\n")
    into = f" WITH SCHEMA {ident(row['into'])}" if row["into"] else ""
    return replace(need, ddl=f"CREATE EXTENSION {ident(need.name)}{into};\n")


def _sequence(need: Need, run: Run) -> str:
    """Return the SQL that creates a sequence which no table owns, with its value if the role may read it."""
    name = f"{_literally(need.schema)}.{_literally(need.name)}"
    words = ("--format=plain", "--no-owner", "--no-acl", f"--table={name}")
    try:
        text = run("pg_dump", words)
    except TargetError:  # a role that may not read its value can still read its definition
        text = run("pg_dump", (*words, "--schema-only"))
    return "".join(entry.text for entry in plaintext.entries(text))


def _parent(need: Need, run: Run) -> str:
    """Return the SQL that creates a parent table for inheritance, without rows, keys and other things of its own."""
    name = f"{_literally(need.schema)}.{_literally(need.name)}"
    text = run("pg_dump", ("--format=plain", "--no-owner", "--no-acl", "--section=pre-data", f"--table={name}"))
    return "".join(entry.text for entry in plaintext.entries(text) if entry.kind == "TABLE")


def _literally(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _from_archive(wanted: Mapping[tuple[int, int], Need], run: Run) -> list[Need]:
    """Let pg_dump describe everything but tables, and take the wanted entries in its order."""
    with tempfile.TemporaryDirectory(prefix="planrun-") as folder:
        archive, choice = Path(folder, "all.dump"), Path(folder, "choice")
        words = ("--format=custom", "--schema-only", "--exclude-table=*.*", f"--file={archive}")
        run("pg_dump", (*words, "--no-owner", "--no-acl"))
        listing = run("pg_restore", ("--list", str(archive))).decode()
        lines = {(int(m[1]), int(m[2])): _line(listing, m.start()) for m in _LISTED.finditer(listing)}
        found = {key: line for key, line in lines.items() if key in wanted}

        def text_of(chosen: Iterable[str]) -> list[plaintext.Entry]:
            choice.write_text("\n".join(chosen) + "\n")
            words = ("--file=-", "--no-owner", "--no-acl", f"--use-list={choice}", str(archive))
            return plaintext.entries(run("pg_restore", words))

        texts = ["".join(entry.text for entry in part) for part in _apart(list(found.values()), text_of)]
    made = [replace(wanted[key], ddl=text) for key, text in zip(found, texts, strict=True)]
    return [*made, *(need for key, need in wanted.items() if key not in found)]


def _apart(lines: list[str], text_of: Callable[[Iterable[str]], list[plaintext.Entry]]) -> list[list[plaintext.Entry]]:
    """Return the text of each line's entry: all from one run, unless the body of a function looks like two entries."""
    together = text_of(lines)
    if len(together) == len(lines):
        return [[entry] for entry in together]
    return [text_of([line]) for line in lines]


def _line(text: str, start: int) -> str:
    return text[start : text.index("\n", start)]


def script(needs: Iterable[Need], *, exists: Callable[[Need], bool] = lambda need: False) -> str:
    """Return the SQL that creates what is missing."""
    return "\n".join(need.ddl for need in needs if need.ddl and not exists(need))


def as_file(needs: Iterable[Need]) -> str:
    """Return the text of needed.ddl, for psql; "" if there is nothing to create."""
    made = [need for need in needs if need.ddl and (need.kind, need.name) != ("schema", "public")]
    head = (
        "-- Objects that the tables of this session need. Run this before the tables, without what exists already.\n"
        "SET check_function_bodies = false;\n\n"
    )
    return head + script(made) if made else ""


def check(need: Need) -> str:
    """Return a query (column `there`) that finds whether a database has this object, or "" if no query can tell."""
    schema, name, identity = map(literal, (need.schema, need.name, need.identity))
    by_name = "select exists (select from pg_catalog.{table} as x {join}where x.{column} = {name}) as there"
    within = f"join pg_catalog.pg_namespace as n on n.oid = x.{{}} and n.nspname = {schema} "
    plain = {
        "schema": ("pg_namespace", "nspname", ""),
        "extension": ("pg_extension", "extname", ""),
        "role": ("pg_roles", "rolname", ""),
        "type": ("pg_type", "typname", within.format("typnamespace")),
        "domain": ("pg_type", "typname", within.format("typnamespace")),
        "collation": ("pg_collation", "collname", within.format("collnamespace")),
        "sequence": ("pg_class", "relname", within.format("relnamespace")),
        "table": ("pg_class", "relname", within.format("relnamespace")),
        "view": ("pg_class", "relname", within.format("relnamespace")),
    }
    if need.kind in ("function", "procedure", "aggregate"):
        return f"select pg_catalog.to_regprocedure({identity}) is not null as there"
    if need.kind not in plain:
        return ""
    table, column, join = plain[need.kind]
    return by_name.format(table=table, column=column, join=join, name=name)


def display_name(need: Need) -> str:
    """Return a name for people: `type sales.mood`."""

    if need.kind in ("function", "procedure", "aggregate"):
        return f"{need.kind} {need.identity}"
    return f"{need.kind} {need.full_name}"
