-- The tables that exist. Value: pairs of schema and name. Locks: none.
select n.nspname::text as schema, c.relname::text as name
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where (n.nspname::text, c.relname::text) in ({{ pairs }}) and c.relkind in ('r', 'p')
order by 1, 2
