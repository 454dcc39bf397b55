select n from unnest(array['users', '"Area"', 'backup_report_settings', 'backups', '"backupXfoo"', 'backup_theirs']) as n
where to_regclass(n) is null;
select n from unnest(array['"backup_Area"', 'backup_town', 'backup_seen']) as n where to_regclass(n) is not null;
select * from planrun.refresh where plan <> 'nightly'
