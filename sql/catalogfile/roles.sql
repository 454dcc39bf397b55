-- The roles that own something in this database or have a right there, those above the role that is connected, and
-- what each is a member of. Locks: none.
with recursive found as (
    select s.refobjid as oid
    from pg_catalog.pg_shdepend as s
    join pg_catalog.pg_database as d on d.datname = pg_catalog.current_database()
    where s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and s.dbid in (d.oid, 0)
      and (s.dbid <> 0 or s.objid = d.oid)
    union
    select d.datdba from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database()
    union
    select c.relowner from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_') and n.nspname <> 'information_schema'
    union
    select n.nspowner from pg_catalog.pg_namespace as n
    where not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_') and n.nspname <> 'information_schema'
    union
    select r.oid from pg_catalog.pg_roles as r where r.rolname = current_user
    union
    select m.roleid from found as f join pg_catalog.pg_auth_members as m on m.member = f.oid
)
select r.rolname::pg_catalog.text as name,
       r.rolsuper as superuser,
       r.rolbypassrls as bypass_rls,
       coalesce((
           select pg_catalog.array_agg(distinct g.rolname::pg_catalog.text order by g.rolname::pg_catalog.text)
           from pg_catalog.pg_auth_members as m
           join pg_catalog.pg_roles as g on g.oid = m.roleid
           where m.member = r.oid
       ), '{}') as member_of
from pg_catalog.pg_roles as r
where r.oid in (select f.oid from found as f)
order by r.rolname::pg_catalog.text collate "C"
