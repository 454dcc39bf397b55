select 'no victim' where to_regclass('victim') is null
