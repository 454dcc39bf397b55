select 'still there' from users;
select 'dropped' where to_regclass('users') is null
