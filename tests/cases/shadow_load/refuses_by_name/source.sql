create unlogged table quick (id int);
create table others (id int primary key);
create table depends (id int references others);
