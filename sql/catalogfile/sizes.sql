-- The size of every table and materialized view, with the server's estimate of its rows. Locks: none.
select n.nspname::pg_catalog.text as schema,
       c.relname::pg_catalog.text as name,
       case when c.reltuples >= 0 then c.reltuples::pg_catalog.int8 end as estimate,
       pg_catalog.pg_total_relation_size(c.oid) as bytes,
       pg_catalog.pg_table_size(c.oid) as table_bytes,
       pg_catalog.pg_relation_size(c.oid) as main_bytes,
       pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(c.oid, 'select')
           and not pg_catalog.row_security_active(c.oid) and c.relkind = 'r' as readable
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'm') and c.relpersistence <> 't'
  and not pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_') and n.nspname <> 'information_schema'
order by n.nspname::pg_catalog.text collate "C", c.relname::pg_catalog.text collate "C"
