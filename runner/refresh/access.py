"""What planrun makes is open to nobody else, whatever default privileges and event triggers do to new objects.

`alter default privileges grant select on tables to anon` opens a table in the moment in which it is made, and an event
trigger may enable row security on it, which would hide our own rows from us. So what was just made is put right in the
same transaction, before anybody can see it, and that is looked at once more.
Sources: PostgreSQL docs, ALTER DEFAULT PRIVILEGES; 5.8 (privileges); 9.27.2 (aclexplode, acldefault).
"""

from __future__ import annotations

from runner.refresh.swap.disabled_triggers import dollars
from runner.sqltext import SqlText, ident, literal

_OPEN = """
    select o.kind, o.name, o.owner, a.grantee
    from (
        select 'schema' as kind, pg_catalog.quote_ident(n.nspname) as name, n.nspowner as owner, n.nspacl as acl
        from pg_catalog.pg_namespace as n
        where n.nspname = {schema} and {whole}
        union all
        select case c.relkind when 'S' then 'sequence' else 'table' end,
               pg_catalog.format('%I.%I', n.nspname, c.relname), c.relowner, c.relacl
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        left join pg_catalog.pg_depend as d
               on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and c.relkind = 'S'
              and d.refclassid = d.classid and d.deptype in ('a', 'i')
        left join pg_catalog.pg_class as t on t.oid = d.refobjid and t.relnamespace = c.relnamespace
        where n.nspname = {schema} and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
          and ({whole} or c.relname = any ({names}::pg_catalog.text[]) or t.relname = any ({names}::pg_catalog.text[]))
        union all
        select 'routine', pg_catalog.format('%I.%I(%s)', n.nspname, f.proname,
                                            pg_catalog.pg_get_function_identity_arguments(f.oid)),
               f.proowner, coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))
        from pg_catalog.pg_proc as f
        join pg_catalog.pg_namespace as n on n.oid = f.pronamespace
        where n.nspname = {schema} and ({whole} or f.proname = any ({names}::pg_catalog.text[]))
    ) as o
    cross join lateral pg_catalog.aclexplode(o.acl) as a
    where a.grantee <> o.owner
    group by 1, 2, 3, 4
"""

_SECURED = """
    select pg_catalog.format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = {schema} and c.relkind in ('r', 'p') and (c.relrowsecurity or c.relforcerowsecurity)
      and ({whole} or c.relname = any ({names}::pg_catalog.text[]))
"""

_FOREIGN = """
    select pg_catalog.format('%I.%I', n.nspname, c.relname) as name, pg_catalog.pg_get_userbyid(c.relowner) as owner
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_roles as me on me.rolname = current_user
    where n.nspname = {schema} and c.relkind in ('r', 'p', 'v', 'm') and c.relowner <> me.oid
      and ({whole} or c.relname = any ({names}::pg_catalog.text[]))
"""


def close(schema: str, *names: str) -> SqlText:
    """Return SQL that takes every right from everybody but the owner, on the schema and all in it, or on `names` in it.

    It fails when a right stays, as one that another role has granted may.
    """
    names_array = literal(list(names))
    rows = _OPEN.format(schema=literal(schema), whole="false" if names else "true", names=names_array)
    foreign = _FOREIGN.format(schema=literal(schema), whole="false" if names else "true", names=names_array)
    secured = _SECURED.format(schema=literal(schema), whole="false" if names else "true", names=names_array)
    body = f"""
declare
    it record;
begin
    for it in {foreign} loop
        begin
            execute pg_catalog.format('alter table %s owner to %I', it.name, current_user);
        exception when insufficient_privilege then
            null;
        end;
    end loop;
    for it in {foreign} loop
        raise insufficient_privilege using
            message = pg_catalog.format(
                '%s belongs to %s, which an event trigger of this database gave it', it.name, it.owner
            ),
            hint = pg_catalog.format(
                'let event trigger %s leave out schemas planrun and planrun_*, or disable it for the run',
                (select pg_catalog.string_agg(e.evtname::pg_catalog.text, ', ') from pg_catalog.pg_event_trigger as e
                 where e.evtenabled <> 'D')
            );
    end loop;
    for it in {rows} loop
        execute pg_catalog.format(
            'revoke all on %s %s from %s cascade', it.kind, it.name,
            case it.grantee when 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(it.grantee)) end
        );
    end loop;
    for it in {secured} loop
        execute pg_catalog.format('alter table %s disable row level security, no force row level security', it.name);
    end loop;
    for it in {rows} loop
        raise insufficient_privilege using message = pg_catalog.format(
            '%s %s is open to %s, and that cannot be taken away', it.kind, it.name,
            case it.grantee when 0 then 'public' else pg_catalog.pg_get_userbyid(it.grantee)::pg_catalog.text end
        );
    end loop;
end
"""
    return SqlText(f"do {dollars(body)}")


def make_schema(schema: str) -> SqlText:
    """Return SQL that makes a schema which is open to nobody else; one that is there stays as it is."""
    body = (
        f"\nbegin\n    if pg_catalog.to_regnamespace({literal(ident(schema))}) is null then\n"
        f"        create schema {ident(schema)};\n        execute {literal(close(schema))};\n    end if;\nend\n"
    )
    return SqlText(f"do {dollars(body)}")
