select conname from pg_constraint c where contype = 'f' and connamespace = 'other'::regnamespace
    and confrelid not in ('people'::regclass, 'teams'::regclass);
select conname from pg_constraint where contype = 'f' and connamespace in ('public'::regnamespace, 'other'::regnamespace)
    and not convalidated and conname not in ('not_yet', 'unproved') and conname not like 'backup%'
    and conrelid::regclass::text not like 'backup%';
select 'not two triggers on each side of ' || conname from pg_constraint c
    where contype = 'f' and conrelid::regclass::text not like 'backup%'
    and (select count(*) from pg_trigger t where t.tgconstraint = c.oid) <> 4;
with gone as (delete from people where id = 2 returning id) select 'deleted nothing' from gone having count(*) = 0;
select 'on delete cascade did not' from other.bills where person = 2
