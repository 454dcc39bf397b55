-- The reasons why the current role must not trust schema planrun, one row each.
-- looking: the reason also matters to a role that only reads. Locks: none.
with trusted as (
    select r.oid
    from pg_catalog.pg_roles as r
    join pg_catalog.pg_roles as me on me.rolname = current_user
    where r.rolsuper or r.oid = me.oid or not me.rolsuper and pg_catalog.pg_has_role(r.oid, 'member')
),
ours as (
    select c.oid, c.relname, c.relkind, c.relowner, c.relrowsecurity
    from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = 'planrun' and c.relname in ('journal', 'refresh', 'member')
)
select p.problem, p.looking, current_user::pg_catalog.text as role
from (
    select pg_catalog.format('it belongs to %I', pg_catalog.pg_get_userbyid(n.nspowner)) as problem, false as looking
    from pg_catalog.pg_namespace as n
    where n.nspname = 'planrun' and n.nspowner not in (select t.oid from trusted as t)
    union all
    select pg_catalog.format('%I in it belongs to %I', o.relname, pg_catalog.pg_get_userbyid(o.relowner)), false
    from ours as o
    where o.relowner not in (select t.oid from trusted as t)
    union all
    select pg_catalog.format('%I in it is not an ordinary table', o.relname), true from ours as o where o.relkind <> 'r'
    union all
    select pg_catalog.format('%I in it has row security', o.relname), true from ours as o where o.relrowsecurity
    union all
    select pg_catalog.format('%I in it has a rule: %I', o.relname, w.rulename), false
    from ours as o
    join pg_catalog.pg_rewrite as w on w.ev_class = o.oid
    where o.relkind = 'r'
    union all
    select pg_catalog.format('%I in it has a trigger that runs code of %I: %I', o.relname,
                             pg_catalog.pg_get_userbyid(f.proowner), g.tgname), false
    from ours as o
    join pg_catalog.pg_trigger as g on g.tgrelid = o.oid and not g.tgisinternal
    join pg_catalog.pg_proc as f on f.oid = g.tgfoid
    where f.proowner not in (select t.oid from trusted as t)
) as p
order by 1
