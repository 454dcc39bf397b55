create table coupons (id int primary key);
insert into customers values (1, 'new'), (2, 'new');
insert into orders (t, customer) select 'new', 1 from generate_series(1, 30);
