-- The connections that block those with planrun's application_name, and the relation. Locks: none.
select distinct b.pid as pid, a.usename::pg_catalog.text as "user", a.application_name as application,
       a.state as state, a.backend_type = 'autovacuum worker' as autovacuum,
       pg_catalog.date_trunc('second', a.xact_start)::pg_catalog.text as began,
       pg_catalog.date_trunc('second', a.query_start)::pg_catalog.text as asked,
       l.relation, l.mode as wanted, h.mode as held
from pg_catalog.pg_stat_activity as w
cross join lateral pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) as b (pid)
left join pg_catalog.pg_stat_activity as a on a.pid = b.pid
left join lateral (
    select l.relation as oid, pg_catalog.format('%I.%I', n.nspname, c.relname) as relation, l.mode
    from pg_catalog.pg_locks as l
    join pg_catalog.pg_class as c on c.oid = l.relation
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where l.pid = w.pid and not l.granted and l.locktype = 'relation'
    limit 1
) as l on true
left join lateral (
    select pg_catalog.string_agg(distinct k.mode, ', ') as mode
    from pg_catalog.pg_locks as k
    where k.pid = b.pid and k.relation = l.oid and k.granted
) as h on true
where w.wait_event_type = 'Lock' and w.application_name = pg_catalog.current_setting('application_name')
  and w.datname = pg_catalog.current_database()
  and coalesce(a.application_name, '') <> pg_catalog.current_setting('application_name')
order by b.pid
