-- What the commands of planrun's own connections in this database have done, as PostgreSQL 14 to 18 tell it. Each role
-- sees the numbers of its own connections. total is 0 if the server does not know it. Locks: none.
with ours as (
    select a.pid
    from pg_catalog.pg_stat_activity as a
    where a.application_name = pg_catalog.current_setting('application_name')
      and a.datname = pg_catalog.current_database() and a.pid <> pg_catalog.pg_backend_pid()
),
found as (
    select p.pid, p.command, p.phase, p.relid,
           case when p.tuples_total > 0 then 'rows' else 'blocks' end as unit,
           case when p.tuples_total > 0 then p.tuples_total else p.blocks_total end as total,
           case when p.tuples_total > 0 then p.tuples_done else p.blocks_done end as done,
           -- half of a b-tree's time goes into reading the table, half into writing the index
           case
               when p.tuples_total > 0 then 0.5 + 0.5 * p.tuples_done / p.tuples_total
               when p.blocks_total > 0 and p.phase like '%scanning table%' then 0.5 * p.blocks_done / p.blocks_total
               when p.phase like 'building index%' and p.phase not like '%initializing%' then 0.5
               else 0
           end as share
    from pg_catalog.pg_stat_progress_create_index as p
    union all
    select p.pid, 'ANALYZE', p.phase, p.relid, 'blocks', p.sample_blks_total, p.sample_blks_scanned,
           p.sample_blks_scanned::numeric / nullif(p.sample_blks_total, 0)
    from pg_catalog.pg_stat_progress_analyze as p
    union all
    select p.pid, 'VACUUM', p.phase, p.relid, 'blocks', p.heap_blks_total,
           case when p.phase = 'vacuuming heap' then p.heap_blks_vacuumed else p.heap_blks_scanned end,
           p.heap_blks_scanned::numeric / nullif(p.heap_blks_total, 0)
    from pg_catalog.pg_stat_progress_vacuum as p
    union all
    select p.pid, p.command, p.phase, p.relid, 'blocks', p.heap_blks_total, p.heap_blks_scanned,
           p.heap_blks_scanned::numeric / nullif(p.heap_blks_total, 0)
    from pg_catalog.pg_stat_progress_cluster as p
    union all
    select p.pid, p.command, '', p.relid, 'bytes', p.bytes_total, p.bytes_processed,
           p.bytes_processed::numeric / nullif(p.bytes_total, 0)
    from pg_catalog.pg_stat_progress_copy as p
)
select f.command, f.phase, f.unit, f.done::bigint as done, f.total::bigint as total,
       n.nspname::text as schema, c.relname::text as name,
       coalesce(f.share, 0)::float8 as share,
       -- pg_relation_size could wait for a lock
       case
           when f.command <> 'ANALYZE' and f.unit = 'blocks'
           then pg_catalog.current_setting('block_size')::bigint * f.total else 0
       end::bigint as bytes
from found as f
join ours using (pid)
left join pg_catalog.pg_class as c on c.oid = f.relid
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where f.done is not null
order by f.pid, f.command
