-- The type of a column. Values: table (a regclass literal), column. Locks: none.
select pg_catalog.format_type(a.atttypid, a.atttypmod) as type
from pg_catalog.pg_attribute as a
where a.attrelid = {{ table }}::pg_catalog.regclass and a.attname = {{ column }}
