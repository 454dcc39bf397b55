insert into orders (t) values ('new'), ('new');
insert into customers values (1, 'new');
