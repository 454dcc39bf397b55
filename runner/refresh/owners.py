"""Shadow relations belong to whom the live ones do before rows, indexes and queries run code of theirs.

PostgreSQL runs the expressions of an index, ANALYZE and REFRESH MATERIALIZED VIEW with the rights of the relation's
owner; rows are checked with those of who writes them. Nobody else may look into a shadow schema, its owners neither: a
right that an owner needs for a moment is granted and taken back in one transaction, or until the load is done.
Sources: PostgreSQL docs, CREATE INDEX, REFRESH MATERIALIZED VIEW (Notes), ALTER TABLE (OWNER TO takes CREATE on the
schema); CVE-2020-25695 (security-restricted operations).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

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


_READ = """
    with recursive ours as (
        select n.oid, n.nspname
        from pg_catalog.pg_namespace as n
        where pg_catalog.starts_with(pg_catalog.obj_description(n.oid, 'pg_namespace'), {mark})
    ),
    read as (
        select {view}::pg_catalog.regclass::pg_catalog.oid as oid
        union
        select d.refobjid
        from read as r
        join pg_catalog.pg_class as c on c.oid = r.oid and (c.relkind = 'v' or c.oid = {view}::pg_catalog.regclass)
        join pg_catalog.pg_rewrite as w on w.ev_class = c.oid
        join pg_catalog.pg_depend as d
          on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = w.oid
         and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    )
    select pg_catalog.format('select on %s', c.oid::pg_catalog.regclass) as what
    from read as r
    join pg_catalog.pg_class as c on c.oid = r.oid and c.oid <> {view}::pg_catalog.regclass
    join ours as o on o.oid = c.relnamespace
    where not pg_catalog.has_table_privilege(owner, c.oid, 'select')
    union
    select pg_catalog.format('usage on schema %I', o.nspname)
    from read as r
    join pg_catalog.pg_class as c on c.oid = r.oid
    join ours as o on o.oid = c.relnamespace
    where not pg_catalog.has_schema_privilege(owner, o.oid, 'usage')
"""


def refresh(view: SqlText) -> SqlText:
    """Return SQL that fills a materialized view as its owner, who may read what it needs of shadow schemas then."""
    query = _READ.format(view=literal(view), mark=literal(ledger.MARK))
    body = (
        "\ndeclare\n    owner name;\n    given text[];\n    what text;\nbegin\n"
        "    select pg_catalog.pg_get_userbyid(c.relowner) into strict owner from pg_catalog.pg_class as c\n"
        f"    where c.oid = {literal(view)}::pg_catalog.regclass;\n"
        f"    given := array({query});\n"
        "    foreach what in array given loop\n"
        "        execute pg_catalog.format('grant %s to %I', what, owner);\n    end loop;\n"
        f"    refresh materialized view {view};\n"
        "    foreach what in array given loop\n"
        "        execute pg_catalog.format('revoke %s from %I', what, owner);\n    end loop;\nend\n"
    )
    return SqlText(f"-- refresh materialized view {view}, with the rights of its owner\ndo {dollars(body)}")
