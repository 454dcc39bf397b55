-- The tables whose rows are compared, those that are planrun's left out. tokens: own (array of OIDs). Locks: none.
select n.nspname::pg_catalog.text as schema, c.relname::pg_catalog.text as name
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and c.relispopulated and n.nspname !~ '^(pg_|planrun$)'
  and n.nspname <> 'information_schema' and c.oid <> all ({{ own }}::pg_catalog.oid[])
  and not pg_catalog.starts_with(coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), ''), 'planrun refresh ')
order by 1, 2
