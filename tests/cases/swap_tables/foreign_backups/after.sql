select 'a table of the user''s has other rows' from backup_orders having array_agg(mine) <> '{42}';
select 'a view of the user''s' from backup_customers where mine <> 42;
select 'gone: ' || t from unnest('{backups,"\"backupXfoo\"",backup_report_settings,backup.orders,planrun_shadow_mine.orders}'::text[]) t
    where to_regclass(t) is null
