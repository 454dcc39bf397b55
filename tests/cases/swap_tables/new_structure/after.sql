select 'columns: ' || string_agg(attname, ', ' order by attnum) from pg_attribute
    where attrelid = 'users'::regclass and attnum > 0
    having string_agg(attname, ', ' order by attnum) <> 'email, id, level';
select 'no new table' where to_regclass('articles') is null;
select 'nobody may read it' where not has_table_privilege('planrun_test_reader', 'users', 'select');
select 'the comment is gone' where obj_description('users'::regclass, 'pg_class') is distinct from 'people';
select 'the foreign key of only_here' from pg_constraint where conrelid = 'only_here'::regclass and contype = 'f'
    having count(*) filter (where confrelid = 'users'::regclass) <> 1;
select 'next id' from nextval(pg_get_serial_sequence('users', 'id')) n where n < 3
