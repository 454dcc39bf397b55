-- Remove the timeouts that a role or a database may have set; a dump does not set the timeouts of the session around it.
select pg_catalog.set_config(name, '0', true) from pg_catalog.pg_settings
where name in ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout');
