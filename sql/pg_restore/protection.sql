-- The protection of tables: row security, policies, grants to roles other than the owner.
-- Value: pairs of schema and name. Locks: none.
select format('%I.%I', n.nspname, c.relname) as name,
       array_remove(array[
           case when c.relrowsecurity then 'row level security' end,
           case when c.relforcerowsecurity then 'forced row level security' end
       ], null) || array(
           select 'policy ' || p.polname::text from pg_catalog.pg_policy as p where p.polrelid = c.oid
       ) as security,
       array(
           select format('%s to %s', a.privilege_type, coalesce(r.rolname::text, 'public'))
           from pg_catalog.aclexplode(c.relacl) as a
           left join pg_catalog.pg_roles as r on r.oid = a.grantee
           where a.grantee <> c.relowner
       ) as grants
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where (n.nspname::text, c.relname::text) in ({{ pairs }}) and c.relkind in ('r', 'p')
