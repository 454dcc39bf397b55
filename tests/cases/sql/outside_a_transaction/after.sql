select 'no index' where to_regclass('t_n') is null
