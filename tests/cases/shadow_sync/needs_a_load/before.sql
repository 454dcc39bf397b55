create table users (id int primary key);
create table sessions (id int primary key);
