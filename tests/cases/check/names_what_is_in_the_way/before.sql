create table parents (id int primary key);
create table children (id int, parent_id int);
insert into parents values (1);
insert into children values (1, 1), (2, 9), (3, 8);
