"""Give shadow relations to the owners of the live ones before rows, indexes and queries run these owners' code.

PostgreSQL runs the expressions of an index, ANALYZE and REFRESH MATERIALIZED VIEW with the rights of the relation's
owner; rows are checked with those of who writes them. Nobody else may look into a shadow schema, its owners neither: a
right that an owner needs for a moment is granted and taken back in one transaction, or until the load is done.
Sources: PostgreSQL docs, CREATE INDEX, REFRESH MATERIALIZED VIEW (Notes), ALTER TABLE (OWNER TO takes CREATE on the
schema); CVE-2020-25695 (security-restricted operations).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from runner import sqlfile
from runner.refresh import ledger
from runner.refresh.swap.disabled_triggers import dollars
from runner.sqltext import SqlText, ident, literal, qualified


def give(schema: str, kind: str, owners: Mapping[str, str]) -> Iterator[str]:
    """Yield SQL, for one transaction, that gives relations of a shadow schema to their owners.

    kind: table or materialized view. owners: role by name of a relation; a table's own sequences go along. Leave out
    what is the current role's: its rights on the schema would be taken back.
    """
    roles = sorted(set(owners.values()))
    for role in roles:
        yield f"grant create on schema {ident(schema)} to {ident(role)}"
    for name, role in owners.items():
        yield f"alter {kind} {qualified(schema, name)} owner to {ident(role)}"
    for role in roles:
        yield f"revoke create on schema {ident(schema)} from {ident(role)}"


def let_in(schema: str, roles: Iterable[str]) -> Iterator[str]:
    """Yield SQL by which these roles find relations of theirs in a shadow schema."""
    yield from (f"grant usage on schema {ident(schema)} to {ident(role)}" for role in sorted(set(roles)))


def shut_out(schema: str, roles: Iterable[str]) -> Iterator[str]:
    """Yield SQL that takes `let_in` back."""
    yield from (f"revoke usage on schema {ident(schema)} from {ident(role)}" for role in sorted(set(roles)))


def refresh(view: SqlText) -> SqlText:
    """Return SQL that fills a materialized view as its owner, who may read what it needs of shadow schemas then."""
    statement = SqlText(f"refresh materialized view {view}")
    values = {"view": literal(view), "statement": statement, "mark": literal(ledger.MARK)}
    body = sqlfile.fill("refresh/refresh_as_owner.plpgsql", **values)
    return SqlText(f"-- {statement}, with the rights of its owner\ndo {dollars(body)}")
