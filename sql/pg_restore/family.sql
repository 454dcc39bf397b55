-- Tables with all their partitions. Parameters: arrays of schemas and names. Locks: none.
select distinct n.nspname::text as schema, c.relname::text as name
from unnest(%s::text[], %s::text[]) as w (schema, name)
join pg_catalog.pg_namespace as m on m.nspname = w.schema
join pg_catalog.pg_class as t on t.relnamespace = m.oid and t.relname = w.name
cross join lateral (
    select t.oid as relid union select p.relid from pg_catalog.pg_partition_tree(t.oid) as p
) as f
join pg_catalog.pg_class as c on c.oid = f.relid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
order by 1, 2
