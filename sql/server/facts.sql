-- The facts about a server and a database that doctor checks. Locks: none.
select pg_catalog.current_setting('server_version') as version,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 as version_num,
       pg_catalog.current_database()::pg_catalog.text as database,
       current_user::pg_catalog.text as role,
       (select rolsuper from pg_catalog.pg_roles where rolname = current_user) as superuser,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as may_create,
       pg_catalog.to_regnamespace('planrun') is not null as has_journal,
       pg_catalog.pg_is_in_recovery() as standby,
       (select ssl from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()) as encrypted,
       (select pg_catalog.count(*) from pg_catalog.pg_prepared_xacts) as prepared,
       (select pg_catalog.count(*) from pg_catalog.pg_stat_activity
         where xact_start < pg_catalog.now() - interval '1 hour') as long_transactions,
       (select pg_catalog.count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p') and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
           and not pg_catalog.has_table_privilege(c.oid, 'select')) as unreadable
