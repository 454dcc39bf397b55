-- If an owner replaced a table with a view between planrun's check and its read, the owner's functions would run with
-- planrun's rights (CVE-2024-7348 of pg_dump). Minor releases before 2024-08 do not know the setting.
select pg_catalog.set_config('restrict_nonsystem_relation_kind', 'view, foreign-table', false)
where pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) is not null
