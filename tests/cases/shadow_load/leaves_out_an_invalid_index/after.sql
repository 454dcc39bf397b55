select relname from pg_class where relname = 'by_id';
select 'gone' where to_regclass('part_1_by_id') is null
