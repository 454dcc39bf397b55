-- Compare rows as they were, in the temporary table planrun_old, with those of a table that has the same primary key.
-- had, gone: rows before, and those whose key is not there any more. changed, filled, left: for each column, the rows in
-- which its value is another one now, and those that had and have a value.
-- tokens: source (a query for the rows that are there now), same (condition on the key), changed, filled, left (lists)
-- locks: ACCESS SHARE on the table
with n as materialized (
    {{ source }}
)
select count(*) as had, count(*) filter (where n.there is null) as gone,
       array[{{ changed }}]::pg_catalog.int8[] as changed, array[{{ filled }}]::pg_catalog.int8[] as filled,
       array[{{ left }}]::pg_catalog.int8[] as left, (select count(*) from n) as now
from pg_temp.planrun_old as o
left join n on {{ same }}
