select 'users' from users having count(*) <> 100 or min(email) not like 'user %';
(table users except table backup_users) union all (table backup_users except table users);
(table sessions except table backup_sessions) union all (table backup_sessions except table sessions);
select 'posts' from posts having count(*) <> 2;
select 'a foreign key that nobody has proved: ' || conname from pg_constraint
    where contype = 'f' and not convalidated and conrelid::regclass::text not like 'backup%';
select 'next id' from nextval('users_id_seq') n where n <= 100;
select 'a trigger of ours is left on ' || tgrelid::regclass from pg_trigger where tgname like 'planrun%'
