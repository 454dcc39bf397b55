-- What planrun keeps of refreshes: shadow tables, backup sets, the tables of a swap that was undone. Locks: none.
select m.oid::pg_catalog.int8 as oid, m.catalog, m.kind, r.id, r.state, m.side,
       case when c.oid is not null then pg_catalog.format('%I.%I', n.nspname, c.relname) end as name
from planrun.refresh as r
join planrun.member as m on m.refresh = r.id
left join pg_catalog.pg_class as c on m.catalog = 'pg_class' and c.oid = m.oid
left join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where m.side = case r.state when 'swapped' then 'old' else 'new' end
order by r.made, r.id, 7
