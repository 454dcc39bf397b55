insert into roles values (1, 'new one'), (2, 'new two');
insert into users (role, email) values (1, 'of the source'), (2, 'too');
insert into posts values (1, 1, 'new'), (2, 2, 'new');
