create table users (id int);
insert into users values (1), (2);
create table empty (id int);
create view look as select 1 as one;
