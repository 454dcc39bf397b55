create table roles (id int primary key, name text);
create table users (id int primary key, name text, role int references roles);
insert into roles values (1, 'admin');
insert into users values (1, 'Ann O''Hara', 1), (2, E'two\nlines', null);
