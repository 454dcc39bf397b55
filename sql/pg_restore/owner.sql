-- The reasons why the current role cannot make another role the owner of what it restores into these schemas.
-- Values: role, schemas. Locks: none.
select format('no right to make %I the owner: grant %I to %I', r.rolname, r.rolname, current_user) as what
from pg_catalog.pg_roles as r
where r.rolname = {{ role }} and not pg_catalog.pg_has_role(r.oid, 'MEMBER')
union all
select format('%I, the owner, has no right to create in schema %I: grant create on schema %I to %I',
              r.rolname, n.nspname, n.nspname, r.rolname)
from pg_catalog.pg_roles as r
join pg_catalog.pg_roles as me on me.rolname = current_user and not me.rolsuper
join pg_catalog.pg_namespace as n on n.nspname::text = any ({{ schemas }}::text[])
where r.rolname = {{ role }} and not pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
order by 1
