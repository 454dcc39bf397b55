-- everything to drop is what the ledger recorded, and nothing else depends on it
with recursive expected (oid, catalog, schema, name, aside_schema, aside_name, kind, marker) as (
    values
        {{ expected }}
),
found as (
    select e.*, e.catalog = 'pg_class' and c.oid is not null or e.catalog = 'pg_proc' and f.oid is not null as same,
           coalesce(pg_catalog.starts_with(pg_catalog.obj_description(e.oid, e.catalog), e.marker), false)
           or coalesce(pg_catalog.starts_with(pg_catalog.obj_description(
                  coalesce(c.relnamespace, f.pronamespace), 'pg_namespace'), e.marker), false) as marked
    from expected as e
    left join pg_catalog.pg_class as c
           on e.catalog = 'pg_class' and c.oid = e.oid and c.relname = e.name
              and c.relnamespace = (select n.oid from pg_catalog.pg_namespace as n where n.nspname = e.schema)
    left join pg_catalog.pg_proc as f
           on e.catalog = 'pg_proc' and f.oid = e.oid and f.proname = e.name
              and f.pronamespace = (select n.oid from pg_catalog.pg_namespace as n where n.nspname = e.schema)
    where e.oid <> 0
),
own (classid, objid) as (  -- what is dropped, and what is dropped with it
    select pg_catalog.to_regclass('pg_catalog.' || f.catalog)::oid, f.oid from found as f where f.kind <> ''
    union
    select d.classid, d.objid
    from own as o
    join pg_catalog.pg_depend as d on d.refclassid = o.classid and d.refobjid = o.objid
    where d.deptype in ('a', 'i', 'P', 'S')
)
select pg_catalog.format('%s %I.%I was renamed or dropped since the diff',
                         coalesce(nullif(f.kind, ''), 'table'), f.schema, f.name) as what
from found as f
where not f.same
union all
select pg_catalog.format('%s %I.%I has another name than planrun gave it (%I.%I)',
                         f.kind, f.schema, f.name, f.aside_schema, f.aside_name)
from found as f
where f.same and f.kind <> '' and (f.schema, f.name) <> (f.aside_schema, f.aside_name)
union all
select pg_catalog.format('%s %I.%I does not carry the marker of planrun in its comment', f.kind, f.schema, f.name)
from found as f
where f.same and f.kind in ('table', 'view', 'matview') and not f.marked
union all
select pg_catalog.format('schema %I is not the one that planrun created, or lacks the marker in its comment', n.nspname)
from unnest({{ schemas }}::text[], {{ schema_oids }}::oid[]) as s (name, oid)
join pg_catalog.pg_namespace as n on n.nspname = s.name
where s.oid not in (0, n.oid)
   or not coalesce(pg_catalog.starts_with(pg_catalog.obj_description(n.oid, 'pg_namespace'), {{ marker }}), false)
union all
select pg_catalog.format('%s would go with what it belongs to, and is none of ours', c.oid::pg_catalog.regclass)
from own as o
join pg_catalog.pg_class as c on o.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = o.objid
where c.relkind in ('r', 'p', 'f', 'v', 'm')
  and not exists (select from found as f where f.catalog = 'pg_class' and f.oid = c.oid)
  and not coalesce(pg_catalog.starts_with(pg_catalog.obj_description(c.relnamespace, 'pg_namespace'), {{ marker }}), false)
union all
select distinct pg_catalog.format(
    '%s depends on %s',
    coalesce(case when v.relkind = 'm' then 'materialized view ' when v.relkind = 'v' then 'view ' end
                 || v.oid::pg_catalog.regclass::text,
             pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)),
    pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0)
)
from own as o
join pg_catalog.pg_depend as d on d.refclassid = o.classid and d.refobjid = o.objid and d.deptype = 'n'
left join pg_catalog.pg_rewrite as r on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and r.oid = d.objid
left join pg_catalog.pg_class as v on v.oid = r.ev_class and v.relkind in ('v', 'm')
where not exists (select from own as x where x.classid = d.classid and x.objid = d.objid)
order by 1
