-- The part that only the live database of the refresh demo has: real customers with row security, orders that refer to
-- the replaced tables, views on them, a grant. Plain SQL, run once after catalog.sql. Locks: none that anybody waits for.
insert into customers (email) select 'customer' || n || '@example.org' from generate_series(1, 1000) n;
alter table customers enable row level security;
create policy everyone on customers for select using (true);

create table orders (
    id bigint generated always as identity primary key,
    customer_id bigint not null references customers (id),
    product_id bigint not null references products (id) on delete restrict
);
insert into orders (customer_id, product_id) select 1 + n % 1000, 1 + n % 4000 from generate_series(1, 8000) n;

create view bestsellers as
select p.name, count(*) as sold from products p join orders o on o.product_id = p.id group by p.name;
create materialized view price_list as
select c.name as category, min(p.price) as cheapest from products p join categories c on c.id = p.category_id
group by c.name;
grant select on products to public;
analyze;
