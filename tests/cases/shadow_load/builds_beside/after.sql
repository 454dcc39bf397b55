-- the live tables are as they were, the new ones are whole
select 1 from public.customers having count(*) <> 1;
select 1 from public.settings having count(*) <> 1;
select 1 from planrun_shadow_public.customers where email is not null having count(*) <> 20;
select 1 from planrun_shadow_public.orders join planrun_shadow_public.customers c on c.id = customer_id having count(*) <> 100;
select 1 from planrun_shadow_public.visits_2025 having count(*) <> 1;
select 1 from planrun_shadow_public.happy having count(*) <> 20;
select 1 from planrun.refresh having count(*) <> 1 or min(state) <> 'loaded';
select 1 from pg_class where relnamespace = 'planrun_shadow_public'::regnamespace and relname in ('settings', 'notes')
