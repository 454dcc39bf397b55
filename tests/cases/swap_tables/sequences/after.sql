select 'a', nextval('a_id_seq') having nextval('a_id_seq') <= 50;
select 'shared', nextval('shared_seq') having nextval('shared_seq') <= 5030;
select 'b', nextval('b_id_seq') having nextval('b_id_seq') <= 500;
select 'c', nextval('c_id_seq') having nextval('c_id_seq') <= 500;
select 'd', nextval('"D ids"') having nextval('"D ids"') <= 13;
select 'down', nextval('down_seq') having nextval('down_seq') >= 971;
select 'lonely', nextval('lonely_seq') having nextval('lonely_seq') <= 30;
with made as (insert into c (t) values ('more') returning id) select id from made where id <= 500;
select 'owner of ' || s from (values ('a_id_seq', 'a'), ('shared_seq', 'a'), ('b_id_seq', 'b'), ('c_id_seq', 'c')) v (s, t)
    where not exists (select from pg_depend where objid = s::regclass and refobjid = t::regclass and deptype in ('a', 'i'))
