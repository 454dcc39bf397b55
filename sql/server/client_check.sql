-- End a statement whose client is gone, which releases its locks. Not every server platform supports this.
select pg_catalog.set_config(name, '5s', false) from pg_catalog.pg_settings
where name = 'client_connection_check_interval' and (
    pg_catalog.version() ~ 'linux'
    or pg_catalog.version() ~ 'darwin|bsd'
        and pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 150000
)
