alter table customers add column email text;
insert into customers (name, mood, email) select 'c' || n, 'happy', n || '@example.org' from generate_series(1, 20) as n;
insert into orders (customer_id, total) select n % 20 + 1, n from generate_series(1, 100) as n;
create table visits (at date, page text) partition by range (at);
create table visits_2025 partition of visits for values from ('2025-01-01') to ('2026-01-01');
insert into visits values ('2025-02-03', '/');
