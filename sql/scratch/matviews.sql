-- The materialized views that are filled. Locks: none.
select schemaname::pg_catalog.text as schema, matviewname::pg_catalog.text as name
from pg_catalog.pg_matviews
where ispopulated and schemaname !~ '^pg_'
order by 1, 2
