-- The part that is new in the staging database of the refresh demo: prices, products, an index; its customers are made up.
-- Plain SQL, run once after catalog.sql. Locks: none that anybody waits for.
insert into customers (email) select 'tester' || n || '@staging.example.org' from generate_series(1, 20) n;
update products set price = price + 10;
delete from products where id > 4800;
insert into products (id, category_id, name, price)
select n, 1 + n % 12, 'New product ' || n, 1 from generate_series(6001, 6500) n;
create index on products (name);
analyze;
