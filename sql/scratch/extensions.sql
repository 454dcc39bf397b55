-- The extensions of a database, in an order in which they can be created. Locks: none.
select e.extname::pg_catalog.text as name, n.nspname::pg_catalog.text as schema
from pg_catalog.pg_extension as e join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
where e.extname <> 'plpgsql'
order by e.oid
