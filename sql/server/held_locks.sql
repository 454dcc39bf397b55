-- The locks on relations of this database that connections hold: all of them, or this one alone (`own`).
-- What belongs to PostgreSQL or to planrun, indexes and TOAST tables are left out. A relation that the own transaction
-- has dropped has no name any more. Locks: none.
select l.pid, l.relation::pg_catalog.int8 as oid, n.nspname::pg_catalog.text as schema,
       c.relname::pg_catalog.text as name, l.mode
from pg_catalog.pg_locks as l
left join pg_catalog.pg_class as c on c.oid = l.relation
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where l.locktype = 'relation' and l.granted
  and l.database = (select d.oid from pg_catalog.pg_database as d where d.datname = pg_catalog.current_database())
  and l.relation >= 16384 and (c.oid is null or c.relkind in ('r', 'p', 'v', 'm', 'f', 'S'))
  and coalesce(n.nspname <> 'planrun' and not pg_catalog.starts_with(n.nspname, 'planrun_shadow_'), true)
  and (l.pid = pg_catalog.pg_backend_pid()) = {{ own }}
