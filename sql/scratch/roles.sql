-- The roles of a server and what each is a member of; those of PostgreSQL itself are left out. Locks: none.
select r.rolname::pg_catalog.text as name, r.rolsuper as super, r.rolcreaterole as makes_roles,
       r.rolbypassrls as bypasses, r.rolinherit as inherits,
       (
           select coalesce(pg_catalog.jsonb_agg(g.rolname order by g.rolname), '[]')
           from pg_catalog.pg_auth_members as m join pg_catalog.pg_roles as g on g.oid = m.roleid
           where m.member = r.oid
       ) as member_of
from pg_catalog.pg_roles as r
where r.rolname !~ '^pg_'
order by r.oid
