-- The extensions of a database, without the one that every database has. Locks: none.
select e.extname::pg_catalog.text as name, n.nspname::pg_catalog.text as schema, e.extversion::pg_catalog.text as version
from pg_catalog.pg_extension as e
join pg_catalog.pg_namespace as n on n.oid = e.extnamespace
where e.extname <> 'plpgsql'
order by e.extname::pg_catalog.text collate "C"
