create table invoice (id int primary key, order_id int references orders);
insert into orders select n, 1 + n % 3000, 'air' from generate_series(1, 4000) n;
insert into order_line select n, 1 + n % 1000, 2 from generate_series(1, 4000) n;
