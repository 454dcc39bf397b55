-- The foreign keys by which a statement on one table changes or removes rows of another: verb, and the OIDs of both.
-- Locks: none.
select a.verb, c.confrelid::pg_catalog.int8 as parent, c.conrelid::pg_catalog.int8 as child
from pg_catalog.pg_constraint as c
cross join lateral (values ('DELETE', c.confdeltype), ('UPDATE', c.confupdtype)) as a (verb, action)
where c.contype = 'f' and a.action in ('c', 'n', 'd')
order by 1, 2, 3
