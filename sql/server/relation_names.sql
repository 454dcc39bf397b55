-- The relations that hold rows or show some, by OID. Locks: none.
select c.oid::pg_catalog.int8 as oid, n.nspname::pg_catalog.text as schema, c.relname::pg_catalog.text as name
from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.oid >= 16384 and n.nspname !~ '^(pg_|planrun)'
