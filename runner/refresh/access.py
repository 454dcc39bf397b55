"""Close what planrun creates to all other roles, whatever default privileges and event triggers do to new objects.

`alter default privileges grant select on tables to anon` opens a table at the moment of its creation, and an event
trigger may enable row security on it, which would hide planrun's own rows from planrun. So this module reverts such
changes in the same transaction, before anybody can see the object, and checks the result.
Sources: PostgreSQL docs, ALTER DEFAULT PRIVILEGES; 5.8 (privileges); 9.27.2 (aclexplode, acldefault).
"""

from __future__ import annotations

from runner import sqlfile
from runner.refresh.swap.disabled_triggers import dollars
from runner.sqltext import SqlText, ident, literal


def close(schema: str, *names: str) -> SqlText:
    """Return SQL that revokes every right of all roles but the owner, on the schema and all in it, or on `names` in it.

    The SQL fails if a right remains, for example one that another role has granted.
    """
    whole = SqlText("false" if names else "true")
    body = sqlfile.fill("refresh/close.plpgsql", schema=literal(schema), names=literal(list(names)), whole=whole)
    return SqlText(f"do {dollars(body)}")


def make_schema(schema: str) -> SqlText:
    """Return SQL that creates a schema that no other role may use; an existing one stays as it is."""
    name = ident(schema)
    body = sqlfile.fill("planrun/make_schema.plpgsql", text=literal(name), name=name, close=literal(close(schema)))
    return SqlText(f"do {dollars(body)}")
