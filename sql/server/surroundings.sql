-- What strong locks and rewrites meet on a server: transactions that are open for longer than a minute, slots that keep
-- WAL, standbys that replay. Roles without pg_monitor see no times of others. Locks: none.
select 'transaction' as kind, a.pid::pg_catalog.text as name, coalesce(nullif(a.application_name, ''), a.usename) as who,
       coalesce(a.state, '') as state, extract(epoch from pg_catalog.clock_timestamp() - a.xact_start)::float8 as seconds,
       null::bigint as bytes
from pg_catalog.pg_stat_activity as a
where a.datname = pg_catalog.current_database() and a.backend_type = 'client backend'
  and a.xact_start < pg_catalog.clock_timestamp() - interval '1 minute' and a.pid <> pg_catalog.pg_backend_pid()
union all
select 'prepared', p.gid, p.owner, 'prepared',
       extract(epoch from pg_catalog.clock_timestamp() - p.prepared)::float8, null
from pg_catalog.pg_prepared_xacts as p
where p.database = pg_catalog.current_database()
union all
select 'slot', s.slot_name, s.slot_type, case when s.active then 'active' else 'inactive' end, null,
       case when pg_catalog.pg_is_in_recovery() then null
            else pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::bigint end
from pg_catalog.pg_replication_slots as s
union all
select 'standby', coalesce(nullif(r.application_name, ''), r.pid::pg_catalog.text), coalesce(r.client_addr::pg_catalog.text, 'local'),
       coalesce(r.state, ''), extract(epoch from r.replay_lag)::float8, null
from pg_catalog.pg_stat_replication as r
order by 1, 5 desc nulls last, 2
