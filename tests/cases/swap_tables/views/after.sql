select 'bound ' || bound() where bound() <> 55;
select 'bound_view' where bound_view() <> 10;
select 'by_name' where by_name() <> 10;
select 'by_plpgsql' where by_plpgsql() <> 10;
select 'top_orders' from top_orders having count(*) <> 10;
select 'reporting.orders' from reporting.orders having count(*) <> 3;
select 'reporting.totals' from reporting.totals having sum(twice) <> 110;
select 'the table that nobody depends on has lost its default'
    where pg_get_expr((select adbin from pg_attrdef where adrelid = 'other'::regclass), 'other'::regclass) <> 'bound()'
