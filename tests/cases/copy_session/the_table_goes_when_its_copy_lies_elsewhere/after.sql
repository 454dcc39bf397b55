select 'users is still there' where to_regclass('users') is not null;
