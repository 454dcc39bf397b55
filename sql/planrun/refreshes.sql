-- The current ledger: each refresh with its members, where they are now, and whether they carry the marker.
-- Locks: ACCESS SHARE on the tables of the ledger.
select r.id, r.plan, r.schema, r.shadow, r.state, r.made, r.swapped, r.source, r.about,
       coalesce((
           select pg_catalog.jsonb_agg(pg_catalog.to_jsonb(m) - 'refresh' order by m.side, m.schema, m.name)
           from (
               select m.*, coalesce(n.nspname, fn.nspname, sn.nspname)::text as now_schema,
                      coalesce(c.relname, f.proname, s.stxname)::text as now_name,
                      pg_catalog.pg_get_function_identity_arguments(f.oid) as arguments,
                      case when c.relkind in ('r', 'p', 'm')
                           then pg_catalog.pg_total_relation_size(c.oid) end as bytes,
                      case when c.relkind in ('r', 'p', 'v', 'm', 'f') then
                          coalesce(pg_catalog.starts_with(
                              pg_catalog.obj_description(c.oid, 'pg_class'), 'planrun refresh ' || m.refresh || ':'
                          ), false)
                          or coalesce(pg_catalog.starts_with(
                              pg_catalog.obj_description(c.relnamespace, 'pg_namespace'),
                              'planrun refresh ' || m.refresh || ':'
                          ), false)
                      end as marked
               from planrun.member as m
               left join pg_catalog.pg_class as c on m.catalog = 'pg_class' and c.oid = m.oid
               left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
               left join pg_catalog.pg_proc as f on m.catalog = 'pg_proc' and f.oid = m.oid
               left join pg_catalog.pg_namespace as fn on fn.oid = f.pronamespace
               left join pg_catalog.pg_statistic_ext as s on m.catalog = 'pg_statistic_ext' and s.oid = m.oid
               left join pg_catalog.pg_namespace as sn on sn.oid = s.stxnamespace
               where m.refresh = r.id
           ) as m
       ), '[]') as members
from planrun.refresh as r
order by r.made, r.id
