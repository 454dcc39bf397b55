select * from planrun.refresh;
select n from unnest(array['backup_town', 'backup_area']) as n where to_regclass(n) is not null
