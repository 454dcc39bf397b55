-- The tables that hold rows or partitions, those of extensions and of PostgreSQL left out.
-- readable: whether this role may read it. part: it is a partition. columns: what COPY reads and writes.
-- key: the columns of the primary key. Locks: none.
select c.oid::pg_catalog.int8 as oid, n.nspname::pg_catalog.text as schema, c.relname::pg_catalog.text as name,
       c.relkind::pg_catalog.text as kind, c.relispartition as part, c.reltuples::pg_catalog.float8 as estimate,
       pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select') as readable,
       (
           select coalesce(pg_catalog.jsonb_agg(a.attname order by a.attnum), '[]')
           from pg_catalog.pg_attribute as a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
       ) as columns,
       (
           select coalesce(pg_catalog.jsonb_agg(a.attname order by u.place), '[]')
           from pg_catalog.pg_index as i
           cross join unnest(i.indkey::pg_catalog.int2[]) with ordinality as u (number, place)
           join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = u.number
           where i.indrelid = c.oid and i.indisprimary
       ) as key
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (
      select from pg_catalog.pg_depend as d
      where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid and d.deptype = 'e'
  )
order by c.oid
