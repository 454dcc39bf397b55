select 'orders' from orders having array_agg(t order by id) <> '{old,old}';
select 'customers' from customers having array_agg(name) <> '{old}';
select 'the view' from old_orders having count(*) <> 2;
select 'the comment' where obj_description('orders'::regclass) is distinct from 'of the target';
select 'a table that was new is still here' where to_regclass('coupons') is not null;
select 'the foreign key of invoices' where (select confrelid from pg_constraint where conname = 'invoices_order_fkey')
    is distinct from 'orders'::regclass;
select 'a number twice' from nextval('orders_id_seq') as n where n <= 31;
select 'a backup table is left: ' || relname from pg_class where starts_with(relname, 'backup_');
select 'not undone' from planrun.refresh where state <> 'undone'
