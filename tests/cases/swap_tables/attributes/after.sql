select tgname, tgenabled from pg_trigger where tgrelid = 't'::regclass
    except values ('t_origin', 'O'::"char"), ('t_off', 'D'), ('t_replica', 'R'), ('t_always', 'A'), ('t_sees', 'O'), ('t_late', 'O');
select 'not analyzed: ' || c from unnest('{t,u}'::text[]) c where (select reltuples from pg_class where oid = c::regclass) < 1;
select 'no statistics' where not exists (select from pg_stats where tablename = 't');
select 'no visibility map' from pg_class where oid = 't'::regclass and relallvisible < relpages
