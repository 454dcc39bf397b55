select 'no backup' where to_regclass('backup_live') is null
