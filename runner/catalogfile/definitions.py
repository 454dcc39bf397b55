"""Turn what pg_dump wrote about the structure of a database into the definitions of a catalog file. Pure.

Source: pg_backup_archiver.c of PostgreSQL 14 to 18 (_printTocEntry: OWNER TO is made of the text of the DROP).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from runner.backup.toc import TocEntry
from runner.catalogfile.record import Definition
from runner.safesql import syntax
from runner.sqltext import ident

_LEFT_OUT = frozenset(
    {"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES", "EXTENSION", "COMMENT"}
    | {"SECURITY LABEL", "SUBSCRIPTION", "SUBSCRIPTION TABLE", "USER MAPPING"}
    | {"STATISTICS DATA", "MATERIALIZED VIEW DATA", "TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA"}
)
"""Of the database itself, made in another way, or what may hold a secret or a value of a row."""

_OWNED = frozenset(
    {
        "EVENT TRIGGER",
        "AGGREGATE",
        "COLLATION",
        "CONVERSION",
        "DOMAIN",
        "FOREIGN TABLE",
        "FUNCTION",
        "MATERIALIZED VIEW",
        "OPERATOR",
    }
    | {"OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURE", "PROCEDURAL LANGUAGE", "PUBLICATION", "SCHEMA", "SEQUENCE"}
    | {"SERVER", "STATISTICS", "TABLE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE", "VIEW"}
)
_OF_PLANRUN = re.compile(r" IS 'planrun(?: refresh [\w-]+:|, format \d+:)[^\n]*';\s*\Z")
"""The comment by which planrun knows an object as its own; other comments are left out."""

_ROUTINES = ("FUNCTION", "PROCEDURE")


def definitions(entries: Iterable[TocEntry]) -> Iterator[Definition]:
    """Yield the definition of each object, in the order in which they can be made."""
    for entry in entries:
        kept = entry.kind not in _LEFT_OUT or (entry.kind == "COMMENT" and _OF_PLANRUN.search(entry.definition))
        if kept and (sql := _sql(entry)):
            yield Definition(kind=entry.kind, schema=entry.schema or "", name=entry.name, sql=sql)


def _sql(entry: TocEntry) -> str:
    own = entry.definition.strip()
    if entry.kind == "SCHEMA" and entry.name == "public":  # every new database has it
        own = ""
    if entry.kind in _ROUTINES:
        own = without_body(own)
    if own.startswith("--") and "\n" not in own:
        own = ""
    drop = entry.drop.strip().removesuffix(";")
    if entry.kind in _OWNED and entry.owner and drop.startswith("DROP "):
        own += f"\nALTER {drop.removeprefix('DROP ')} OWNER TO {ident(entry.owner)};"
    return own.strip()


def without_body(text: str) -> str:
    """Return CREATE FUNCTION with a digest in place of a body in quotes, which a diff does not need.

    >>> without_body("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ select 1 $$;")
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS '-- left out, sha256 7a8f08a593e8';"
    """
    try:
        words = [word for word in syntax.tokens(text) if word.kind not in syntax.COMMENTS]
    except syntax.BadSql:
        return text
    for before, body, after in zip(words, words[1:], [*words[2:], None], strict=False):
        if before.kind == "AS" and body.kind == "SCONST" and (after is None or text[after.start] != ","):
            digest = hashlib.sha256(text[body.start : body.end].encode()).hexdigest()[:12]
            return f"{text[: body.start]}'-- left out, sha256 {digest}'{text[body.end :]}"
    return text
