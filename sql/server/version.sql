-- The version of the server, and the database with its encoding. Locks: none.
select pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) as version,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version_num,
       pg_catalog.current_database()::pg_catalog.text as database,
       pg_catalog.current_setting('server_encoding') as encoding
