-- Remove the limits of these names (list of literals) that this version of PostgreSQL knows.
-- current_setting, as the view pg_settings makes a row of each of 400 settings: 1 ms for every connection.
select pg_catalog.set_config(name, '0', false) from pg_catalog.unnest(array[{{ names }}]) as known (name)
where pg_catalog.current_setting(name, true) is not null
