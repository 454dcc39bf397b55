select 'not made' where to_regclass('made') is null
