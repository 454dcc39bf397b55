-- The identifier that initdb gave to the server. Locks: none.
select system_identifier::pg_catalog.text as system from pg_catalog.pg_control_system()
