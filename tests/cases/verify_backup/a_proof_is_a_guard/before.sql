create table users (id int primary key, name text);
insert into users values (1, 'Ann'), (2, 'Ben');
