-- Identify the database of a connection, and say whether this role may ask for the server's identifier. Locks: none.
select d.datname::pg_catalog.text as database, d.oid::pg_catalog.text as oid,
       current_user::pg_catalog.text as role,
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute') as may_ask
from pg_catalog.pg_database as d
where d.datname = pg_catalog.current_database()
