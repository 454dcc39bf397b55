-- Where the sequences stand that have been used and that this role may read. Locks: none.
select s.schemaname::pg_catalog.text as schema, s.sequencename::pg_catalog.text as name, s.last_value as value
from pg_catalog.pg_sequences as s
where s.last_value is not null and s.schemaname !~ '^pg_'
order by 1, 2
