"""Give shadow relations to the owners of the live ones before rows, indexes and queries run these owners' code.

PostgreSQL runs the expressions of an index, ANALYZE and REFRESH MATERIALIZED VIEW with the rights of the relation's
owner; checks on rows run with the rights of the writer. No other role may use a shadow schema, not even the owners: a
right that an owner needs is granted and revoked in one transaction, or revoked at the end of the load.
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

    kind: table or materialized view. owners: role by name of a relation; a table's own sequences follow it. Leave out
    relations of the current role: the SQL would revoke its rights on the schema.
    """
    roles = sorted(set(owners.values()))
    for role in roles:
        yield f"grant create on schema {ident(schema)} to {ident(role)}"
    for name, role in owners.items():
        yield f"alter {kind} {qualified(schema, name)} owner to {ident(role)}"
    for role in roles:
        yield f"revoke create on schema {ident(schema)} from {ident(role)}"


def grant_usage(schema: str, roles: Iterable[str]) -> Iterator[str]:
    """Yield SQL that grants these roles USAGE on a shadow schema, so that they find their relations there."""
    yield from (f"grant usage on schema {ident(schema)} to {ident(role)}" for role in sorted(set(roles)))


def revoke_usage(schema: str, roles: Iterable[str]) -> Iterator[str]:
    """Yield SQL that revokes what `grant_usage` granted."""
    yield from (f"revoke usage on schema {ident(schema)} from {ident(role)}" for role in sorted(set(roles)))


def refresh(view: SqlText) -> SqlText:
    """Return SQL that fills a materialized view as its owner, who may use the shadow schemas that it needs
    meanwhile."""
    statement = SqlText(f"refresh materialized view {view}")
    values = {"view": literal(view), "statement": statement, "mark": literal(ledger.MARK)}
    body = sqlfile.fill("refresh/refresh_as_owner.plpgsql", **values)
    return SqlText(f"-- {statement}, with the rights of its owner\ndo {dollars(body)}")
