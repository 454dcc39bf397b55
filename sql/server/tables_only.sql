-- A table that its owner makes a view of between our look and our read would run the owner's functions as us
-- (CVE-2024-7348 of pg_dump). Minors before 2024-08 do not know the setting.
select pg_catalog.set_config(name, 'view, foreign-table', false) from pg_catalog.pg_settings
where name = 'restrict_nonsystem_relation_kind'
