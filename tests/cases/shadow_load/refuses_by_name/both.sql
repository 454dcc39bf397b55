create table fine (id int primary key);
