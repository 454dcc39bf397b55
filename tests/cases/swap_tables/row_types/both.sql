create table orders (id int primary key, amount numeric);
create function big() returns setof orders language sql stable as 'select * from public.orders where amount > 5';
create function first_order() returns orders language plpgsql as
    'declare r public.orders; begin select * into r from public.orders order by id limit 1; return r; end';
create function doubled(orders) returns numeric language sql as 'select $1.amount * 2';
create function many(orders[]) returns int language sql as 'select cardinality($1)';
comment on function doubled(orders) is 'a computed column';
