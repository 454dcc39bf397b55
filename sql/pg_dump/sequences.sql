-- The sequences that columns of a table own. Parameters: schema, name. Locks: none.
select format('%%I.%%I', n.nspname, s.relname) as name
from pg_catalog.pg_class as t
join pg_catalog.pg_namespace as m on m.oid = t.relnamespace
join pg_catalog.pg_depend as d
    on d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = t.oid and d.refobjsubid > 0
    and d.classid = 'pg_catalog.pg_class'::regclass and d.deptype in ('a', 'i')
join pg_catalog.pg_class as s on s.oid = d.objid and s.relkind = 'S'
join pg_catalog.pg_namespace as n on n.oid = s.relnamespace
where m.nspname = %s and t.relname = %s
order by 1
