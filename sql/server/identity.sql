-- The server, database and role of a connection. Locks: none.
select pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version,
       pg_catalog.current_database()::pg_catalog.text as database,
       current_user::pg_catalog.text as "user",
       pg_catalog.pg_is_in_recovery() as in_recovery
