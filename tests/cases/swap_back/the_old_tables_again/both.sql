create table customers (id int primary key, name text);
create table orders (id serial primary key, t text, customer int references customers);
create view old_orders as select id, t from orders;
