select 'no_columns' from no_columns having count(*) <> 3;
select 'generated' from all_types where x <> id * 2;
select 'the range type' where (select count(*) from all_types where s @> 1.5::float8) <> 2
