-- The kind of a table. Values: schema, name. Locks: none.
select c.relkind::text as kind
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = {{ schema }} and c.relname = {{ name }} and c.relkind in ('r', 'p')
