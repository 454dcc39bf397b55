select 'big' from big() having count(*) <> 5;
select 'first_order' from first_order() where id <> 1;
select 'doubled' from orders o having sum(o.doubled) <> 110;
select 'many' from orders o having many(array_agg(o)) <> 10
