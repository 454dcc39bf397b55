create type mood as enum ('sad', 'happy');
create table customers (id serial primary key, name text not null, mood mood);
create table orders (id bigint generated always as identity primary key, customer_id int references customers,
    total numeric(10, 2) check (total >= 0));
create index orders_customer on orders (customer_id);
create table settings (key text primary key, value text);
