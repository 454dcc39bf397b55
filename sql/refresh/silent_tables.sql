select v.name from (values {{ tables }}) as v (name, function, journal, live, oid)
where pg_catalog.to_regclass(v.journal) is null
   or pg_catalog.to_regclass(v.live)::pg_catalog.oid is distinct from v.oid
   or exists (
    select from ({{ tree }}) as t (oid)
    where 2 <> (  -- on rows, and on TRUNCATE
        select pg_catalog.count(*) from pg_catalog.pg_trigger as g
        where g.tgrelid = t.oid and g.tgfoid = pg_catalog.to_regprocedure(v.function) and g.tgenabled = 'A'
    )
)
order by 1
