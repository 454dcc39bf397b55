select n from unnest(array['users', '"Area"', '"backup_Area"', 'backup_town', 'backup_seen']) as n where to_regclass(n) is null;
select nspname from pg_namespace where nspname = 'planrun_shadow_public';
select id from planrun.refresh where state <> 'swapped'
