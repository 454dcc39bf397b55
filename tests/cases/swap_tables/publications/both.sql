create table a (id int primary key, t text, n int);
create table b (id int not null unique, t text);
create table c (id int, t text);
create table d (id int primary key);
