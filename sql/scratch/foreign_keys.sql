-- The foreign keys between tables, those that partitions inherit left out. types: of the referenced columns.
-- Locks: none.
select c.conname::pg_catalog.text as name, n.nspname::pg_catalog.text as schema, t.relname::pg_catalog.text as table,
       rn.nspname::pg_catalog.text as ref_schema, r.relname::pg_catalog.text as ref_table, k.columns, k.ref_columns, k.types
from pg_catalog.pg_constraint as c
join pg_catalog.pg_class as t on t.oid = c.conrelid
join pg_catalog.pg_namespace as n on n.oid = t.relnamespace
join pg_catalog.pg_class as r on r.oid = c.confrelid
join pg_catalog.pg_namespace as rn on rn.oid = r.relnamespace
cross join lateral (
    select pg_catalog.jsonb_agg(a.attname order by u.place) as columns,
           pg_catalog.jsonb_agg(b.attname order by u.place) as ref_columns,
           pg_catalog.jsonb_agg(pg_catalog.format_type(b.atttypid, null) order by u.place) as types
    from unnest(c.conkey, c.confkey) with ordinality as u (own, other, place)
    join pg_catalog.pg_attribute as a on a.attrelid = c.conrelid and a.attnum = u.own
    join pg_catalog.pg_attribute as b on b.attrelid = c.confrelid and b.attnum = u.other
) as k
where c.contype = 'f' and c.conparentid = 0 and n.nspname !~ '^pg_'
order by c.oid
