-- The facts about a database and the role that is connected to it, for a catalog file. Locks: none.
select pg_catalog.current_database()::pg_catalog.text as database,
       d.oid::pg_catalog.text as oid,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version,
       pg_catalog.pg_get_userbyid(d.datdba)::pg_catalog.text as owner,
       (select pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text from pg_catalog.pg_namespace as n
        where n.nspname = 'public') as public_owner,
       current_user::pg_catalog.text as "user",
       pg_catalog.has_database_privilege(d.oid, 'create') as may_create,
       pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text as encoding,
       pg_catalog.to_regclass('planrun.refresh') is not null as ledger
from pg_catalog.pg_database as d
where d.datname = pg_catalog.current_database()
