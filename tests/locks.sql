-- The database that the examples of the lock table run in; every table that is scanned has rows.
create role lock_owner;
create role lock_clerk;
create schema app;
create function app.f() returns int language sql volatile as 'select 1';
create function app.steady() returns int language sql stable as 'select 1';
create procedure app.p() language sql as 'select 1';
create function app.tf() returns trigger language plpgsql as 'begin return new; end';
create type app.mood as enum ('sad', 'ok');
create type app.lonely as enum ('one');
create type app.pair as (x int, y int);
create domain app.positive as int constraint positive_check check (value > 0) not null;
create domain app.plain as int;
create sequence app.numbers;
create table app.customers (id int primary key, name text);
create table app.orders (
  id int primary key,
  customer_id int not null constraint orders_customer_id_fkey references app.customers,
  amount int default 1 constraint amount_positive check (amount > 0),
  note varchar(20) collate "C",
  code int generated always as identity,
  twice int generated always as (amount * 2) stored,
  rating app.positive default 1
);
alter table app.orders add constraint amount_small check (amount < 1000) not valid;
alter table app.orders add constraint customer_again foreign key (customer_id) references app.customers not valid;
create unique index orders_code on app.orders (code);
create index orders_amount on app.orders (amount);
create index orders_expression on app.orders ((amount + 1));
create statistics app.orders_stat on amount, note from app.orders;
create trigger orders_trigger before update on app.orders for each row execute function app.tf();
create rule orders_rule as on insert to app.customers where false do instead nothing;
create policy orders_policy on app.orders using (true);
create table app.lines (order_id int not null constraint lines_order_id_fkey references app.orders, n int);
create unique index lines_order on app.lines (order_id);
create table app.checked (n int constraint n_there check (n is not null), m int);
create unique index checked_n on app.checked (n);
create table app.points (x int, y int);
create view app.totals as select customer_id, sum(amount) from app.orders group by customer_id;
create materialized view app.sums as select customer_id, sum(amount) from app.orders group by customer_id;
create unique index sums_customer on app.sums (customer_id);
create table app.ranks (rank app.plain, p app.pair);
create table app.typed of app.pair;
create table app.events (day int not null, n int) partition by list (day);
create table app.events_1 partition of app.events for values in (1);
create table app.events_2 partition of app.events for values in (2);
create table app.events_rest partition of app.events default;
create table app.events_4 (day int not null, n int);
create index events_n on app.events (n);
create table app.bare (day int) partition by list (day);
create table app.bare_1 partition of app.bare for values in (1);
create table app.parent (n int, m int);
create table app.child () inherits (app.parent);
create table app.orphan (n int, m int);
create table app.serials (id serial, n int);
create unlogged table app.loose (n int);
create publication news for table app.customers;
create schema other;
create schema bare;
create table other.things (id int);
create table other.clerks (id int);
alter table other.clerks owner to lock_clerk;
insert into app.customers select n, 'x' from generate_series(1, 3) n;
insert into app.orders (id, customer_id, amount, note) select n, n, n, 'x' from generate_series(1, 3) n;
insert into app.lines select n, n from generate_series(1, 3) n;
insert into app.events select n, n from generate_series(1, 3) n;
insert into app.parent select n, n from generate_series(1, 3) n;
insert into app.child select n, n from generate_series(1, 3) n;
refresh materialized view app.sums;
insert into app.ranks select n, row(n::int, n::int)::app.pair from generate_series(1, 3) n;
insert into app.serials (n) select n from generate_series(1, 3) n;
insert into app.checked select n, n from generate_series(1, 3) n;
insert into app.loose select n from generate_series(1, 3) n;
grant all on schema app, other to lock_owner, lock_clerk;
analyze;
