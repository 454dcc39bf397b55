create table accounts (id int primary key, balance int check (balance >= 0));
insert into accounts values (1, 10), (2, 0);
