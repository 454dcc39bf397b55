create table imported (id int primary key); insert into imported values (1), (2); create table kept (id int primary key);
