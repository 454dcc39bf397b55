-- What a migration may drop besides tables, and no backup of tables contains: schemas, extensions, views, materialized views, foreign
-- tables, sequences, functions, types. Left out: what belongs to an extension or to planrun, the sequence of a column, the
-- type of a table. Locks: none.
with space as (
    select n.oid, n.nspname from pg_catalog.pg_namespace as n
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'planrun')
),
part as (
    select d.classid, d.objid from pg_catalog.pg_depend as d
    where d.deptype = 'e'
       or (d.deptype in ('a', 'i') and d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           and d.refclassid = d.classid and d.refobjsubid > 0)
),
object as (
    select 'pg_catalog.pg_namespace'::pg_catalog.regclass as class, s.oid, 'schema' as kind, '' as schema, s.nspname as name
    from space as s
    union all
    select 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid, 'extension', '', e.extname
    from pg_catalog.pg_extension as e
    union all
    select 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid,
           case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
                          else 'sequence' end, s.nspname, c.relname
    from pg_catalog.pg_class as c join space as s on s.oid = c.relnamespace
    where c.relkind in ('v', 'm', 'f', 'S') and c.relpersistence <> 't'
    union all
    select 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid,
           case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, s.nspname,
           p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'
    from pg_catalog.pg_proc as p join space as s on s.oid = p.pronamespace
    union all
    select 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, case t.typtype when 'd' then 'domain' else 'type' end,
           s.nspname, t.typname
    from pg_catalog.pg_type as t
    join space as s on s.oid = t.typnamespace
    left join pg_catalog.pg_class as c on c.oid = t.typrelid
    where t.typtype in ('d', 'e', 'r') or (t.typtype = 'c' and c.relkind = 'c')
)
select o.class::pg_catalog.oid::pg_catalog.int8 as class, o.oid::pg_catalog.int8 as oid, o.kind,
       o.schema::pg_catalog.text as schema, o.name::pg_catalog.text as name
from object as o
where not exists (select from part as p where p.classid = o.class and p.objid = o.oid)
order by 3, 4, 5
