select inhrelid::regclass, inhparent::regclass from pg_inherits
    where (inhrelid::regclass::text like '%backup%') <> (inhparent::regclass::text like '%backup%');
select 'rows go elsewhere' from events where tableoid::regclass::text like '%backup%';
select 'the old ones' from backup_events having count(*) <> 2;
with made as (insert into events values (400, '2025-03-03', 1) returning tableoid::regclass::text as into_table)
    select into_table from made where into_table <> 'events_2025_1';
select 'hashed' from hashed having count(*) <> 20
