-- The name of a relation that an exchange waited for, and the connection that held it. Values: pid, oid. Locks: none.
select n.nspname::pg_catalog.text as schema, c.relname::pg_catalog.text as name, pg_catalog.format(
           'pid %s (%s)', a.pid, pg_catalog.concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state)
       ) as who
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
left join pg_catalog.pg_stat_activity as a on a.pid = {{ pid }}
where c.oid = {{ oid }}
