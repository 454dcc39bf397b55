insert into roles values (1, 'old one');
insert into users (role, email) select 1, 'user ' || n from generate_series(1, 100) n;
insert into sessions select 'web', gen_random_uuid(), n, now() from generate_series(1, 50) n;
insert into posts values (7, 7, 'old');
