-- The connection that holds an advisory lock of two integers in this database. Parameters: both. Locks: none.
select a.pid, a.application_name, a.usename, a.backend_start
from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.objsubid = 2 and l.granted
  and l.classid = %s::pg_catalog.oid and l.objid = %s::pg_catalog.oid
  and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
