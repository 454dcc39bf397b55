-- The members of planrun's ledger with what they are called now, which finds them in a copy, where OIDs are others.
-- Locks: ACCESS SHARE on planrun.member.
select m.refresh, m.side, m.catalog, m.kind, m.schema, m.name, m.about::pg_catalog.text as about,
       case m.catalog
           when 'pg_class' then (
               select pg_catalog.format('%I.%I', n.nspname, c.relname)
               from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
               where c.oid = m.oid)
           when 'pg_proc' then (
               select p.oid::pg_catalog.regprocedure::pg_catalog.text from pg_catalog.pg_proc as p where p.oid = m.oid)
           else (
               select pg_catalog.format('%I.%I', n.nspname, s.stxname)
               from pg_catalog.pg_statistic_ext as s join pg_catalog.pg_namespace as n on n.oid = s.stxnamespace
               where s.oid = m.oid)
       end as now
from planrun.member as m
order by m.refresh, m.side, m.catalog, m.oid
