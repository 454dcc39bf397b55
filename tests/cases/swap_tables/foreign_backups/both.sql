create table orders (id serial primary key, t text);
create table customers (id int constraint backup_orders_pkey primary key, t text);
create index by_t on customers (t);
