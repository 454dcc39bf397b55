create table users (id int);
insert into users values (1);
