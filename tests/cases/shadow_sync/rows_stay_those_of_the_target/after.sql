(select id, name, shout from users except select id, name, shout from planrun_shadow_public.users)
union all (select id, name, shout from planrun_shadow_public.users except select id, name, shout from users);
select at, token, "user" from sessions except select at, token, "user" from planrun_shadow_public.sessions;
select 1 where (select count(*) from planrun_shadow_public.sessions) <> 50;
select conname from pg_constraint where conname = 'orders_user_fkey';
select n from planrun_shadow_public.names where n <> 100;
select about from planrun.refresh where about -> 'preserved' <> '["users", "sessions"]' or jsonb_array_length(about -> 'keys') <> 2;
select name, about from planrun.member where name in ('users', 'sessions') and about ->> 'rows' <> case name when 'users' then '100' else '50' end;
select 'not signed' from planrun.member having count(*) filter (where jsonb_array_length(about -> 'xids') = 1) <> 2;
select relname from pg_class where relname in ('users', 'sessions') and relnamespace = 'public'::regnamespace
    and not exists (select from pg_trigger where tgrelid = pg_class.oid and tgenabled = 'A')
