select 'made' where to_regclass('never') is not null
