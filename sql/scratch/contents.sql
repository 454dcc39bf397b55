-- The tables of a scratch copy, before and after a command ran in it; those of extensions and of planrun are left out.
-- root: OID of the partitioned table that it is a part of, else 0. columns: [number, name, type]; PostgreSQL never uses a
-- number again. key: the numbers of the primary key's columns. Locks: none.
select c.oid::pg_catalog.int8 as oid, n.nspname::pg_catalog.text as schema, c.relname::pg_catalog.text as name,
       c.relkind::pg_catalog.text as kind,
       coalesce((
           select r.oid::pg_catalog.int8 from pg_catalog.pg_partition_root(c.oid) as r (oid) where r.oid <> c.oid
       ), 0) as root,
       coalesce((
           select pg_catalog.jsonb_agg(
               pg_catalog.jsonb_build_array(a.attnum, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod))
               order by a.attnum)
           from pg_catalog.pg_attribute as a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
       ), '[]') as columns,
       coalesce((
           select pg_catalog.jsonb_agg(k.number order by k.place)
           from pg_catalog.pg_index as i
           cross join unnest(i.indkey::pg_catalog.int2[]) with ordinality as k (number, place)
           where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
       ), '[]') as key
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'planrun')
  and not exists (
      select from pg_catalog.pg_depend as d
      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e'
  )
order by 2, 3
