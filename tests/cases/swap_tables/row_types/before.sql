insert into orders values (7, 70);
