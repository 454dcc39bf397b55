select id, name from users where name = '?';
select 'gone' where (select count(*) from users) <> 2;
select relname from pg_class where relnamespace = 'rescued'::regnamespace and relkind = 'r'
