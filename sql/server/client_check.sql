-- End a statement whose client is gone, which releases its locks. Not every server platform supports this.
select pg_catalog.set_config('client_connection_check_interval', '5s', false)
where pg_catalog.current_setting('client_connection_check_interval', true) is not null and (
    pg_catalog.version() ~ 'linux'
    or pg_catalog.version() ~ 'darwin|bsd'
        and pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 150000
)
