select n from unnest(array['"backup_Area"', 'backup_town', 'backup_seen', 'mine']) as n where to_regclass(n) is null
