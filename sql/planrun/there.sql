-- Which of planrun's own tables exist, and the newest format that their comments name. Locks: none.
select pg_catalog.to_regnamespace('planrun') is not null as schema,
       pg_catalog.to_regclass('planrun.journal') is not null as journal,
       pg_catalog.to_regclass('planrun.member') is not null as ledger,
       coalesce((
           select pg_catalog.max(pg_catalog.substring(d.description, '^planrun, format (\d{1,6}):')::pg_catalog.int4)
           from pg_catalog.pg_description as d
           where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objsubid = 0
             and d.objoid in (
                 pg_catalog.to_regclass('planrun.journal'), pg_catalog.to_regclass('planrun.refresh'),
                 pg_catalog.to_regclass('planrun.member')
             )
       ), 1) as format
