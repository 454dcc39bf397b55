insert into customers (name) values ('live');
insert into settings values ('theme', 'dark');
create view happy as select id, name from customers where mood = 'happy';
create schema sales;
create table sales.notes (order_id bigint references public.orders);
