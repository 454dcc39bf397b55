-- The size in bytes of tables with their partitions, and an estimate of their rows (0: unknown), by name. Values: arrays
-- of schemas and names. Locks: ACCESS SHARE on the tables.
select w.schema, w.name,
       coalesce(sum(pg_catalog.pg_table_size(t.oid)), 0)::bigint as bytes,
       coalesce(sum(p.reltuples) filter (where p.relkind = 'r' and p.reltuples > 0), 0)::bigint as rows
from unnest(%s::text[], %s::text[]) as w (schema, name)
join pg_catalog.pg_namespace as n on n.nspname = w.schema
join pg_catalog.pg_class as c on c.relnamespace = n.oid and c.relname = w.name and c.relkind in ('r', 'p')
cross join lateral (
    select c.oid union select x.relid::oid from pg_catalog.pg_partition_tree(c.oid) as x
) as t
join pg_catalog.pg_class as p on p.oid = t.oid
group by w.schema, w.name
