-- Compare rows as they were, in the temporary table planrun_old, with those of a table without a key that is still the
-- same: gone is the number of rows that are not there any more in every column, as often as they were; so a row that has
-- changed is gone as well.
-- tokens: source (a query for the rows that are there now), columns (those that are in both), changed, filled, left (lists)
-- locks: ACCESS SHARE on the table
with n as materialized (
    {{ source }}
)
select (select count(*) from pg_temp.planrun_old) as had,
       (
           select count(*) from (
               select {{ columns }} from pg_temp.planrun_old except all select {{ columns }} from n
           ) as d
       ) as gone,
       array[{{ changed }}]::pg_catalog.int8[] as changed, array[{{ filled }}]::pg_catalog.int8[] as filled,
       array[{{ left }}]::pg_catalog.int8[] as left, (select count(*) from n) as now
