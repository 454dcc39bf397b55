-- What a case compares with the catalog: tables and views that users made, and their columns in order.
select n.nspname::pg_catalog.text as schema, c.relname::pg_catalog.text as name,
       coalesce(
           (select pg_catalog.jsonb_agg(a.attname order by a.attnum)
            from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
           '[]') as columns
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f')
  and n.nspname <> 'information_schema' and n.nspname !~ '^pg_(catalog|toast|temp)'
order by 1, 2
