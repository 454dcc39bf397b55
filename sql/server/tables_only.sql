-- If an owner replaced a table with a view between planrun's check and its read, the owner's functions would run with
-- planrun's rights (CVE-2024-7348 of pg_dump). Minor releases before 2024-08 do not know the setting.
select pg_catalog.set_config(name, 'view, foreign-table', false) from pg_catalog.pg_settings
where name = 'restrict_nonsystem_relation_kind'
