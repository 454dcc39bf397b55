-- The rows of planrun's ledger for a catalog file: the names of objects in place of their OIDs, and no checksums.
-- `shadow_oid` and those of `shadow_schemas` are 1 where the schema is still there, 0 where it is gone.
-- locks: ACCESS SHARE on the tables of the ledger
select 'refresh' as part,
       pg_catalog.to_jsonb(r) || pg_catalog.jsonb_build_object('about', r.about
           || case when r.about operator(pg_catalog.?) 'shadow_oid' then pg_catalog.jsonb_build_object('shadow_oid', (
               select pg_catalog.count(*) from pg_catalog.pg_namespace as n
               where n.oid::pg_catalog.text = r.about ->> 'shadow_oid' and n.nspname::pg_catalog.text = r.shadow
           )) else '{}' end
           || case when r.about operator(pg_catalog.?) 'shadow_schemas' then pg_catalog.jsonb_build_object(
               'shadow_schemas', coalesce((
                   select pg_catalog.jsonb_object_agg(s.key, (
                       select pg_catalog.count(*) from pg_catalog.pg_namespace as n
                       where n.oid::pg_catalog.text = s.value and n.nspname::pg_catalog.text = s.key
                   ))
                   from pg_catalog.jsonb_each_text(r.about -> 'shadow_schemas') as s
               ), '{}')
           ) else '{}' end
       ) as row,
       '' as identity,
       r.id as sort
from planrun.refresh as r
union all
select 'member',
       (pg_catalog.to_jsonb(m) - 'oid') || pg_catalog.jsonb_build_object('about', m.about - 'stream' - 'checksum'),
       coalesce((
           select i.identity
           from pg_catalog.pg_identify_object(('pg_catalog.' || m.catalog)::pg_catalog.regclass, m.oid, 0) as i
       ), ''),
       pg_catalog.concat_ws(' ', m.refresh, m.side, m.catalog, m.schema, m.name, m.kind, m.oid)
from planrun.member as m
order by part desc, sort
