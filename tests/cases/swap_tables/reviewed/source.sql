alter table product add weight integer;
alter table orders drop column note;
create table supplier (id int primary key, name text);
insert into product select n, 1 + n % 20, 'product ' || n, n from generate_series(1001, 1500) n;
insert into supplier select n, 'supplier ' || n from generate_series(1, 7) n;
insert into orders select n, 1 + n % 3000, 'air' from generate_series(1, 5000) n;
insert into order_line select n, 1 + n % 1000, 2 from generate_series(1, 5000) n;
